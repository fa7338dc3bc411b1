"""Facts about one GPU that estimates rest on. Read-only data; the files beside this one name their sources."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DeviceLimits:
    """The whole device. Bandwidths in 10^9 bytes per second, latencies of an idle memory system.

    ``launch_overhead_us`` is the device-side floor of one launch, ``program_start_ns`` what it takes to start one
    program on an SM that is free: both are calibrations until measured.
    """

    sms: int
    clock_mhz: float
    dram_gbps: float
    dram_latency_ns: float
    l2_bytes: int
    l2_gbps: float
    l2_latency_ns: float
    launch_overhead_us: float
    program_start_ns: float


@dataclass(frozen=True, slots=True)
class SmLimits:
    """One SM (NVIDIA) or compute unit (AMD). A program is a thread block.

    ``registers`` are 32-bit ones; a warp gets them in steps of ``register_granularity``, out of the share of the
    partition (scheduler, SIMD) that it lives on.
    """

    warp_size: int
    partitions: int
    max_warps: int
    max_programs: int
    max_warps_per_program: int
    registers: int
    registers_per_thread: int
    register_granularity: int
    shared_bytes: int
    shared_per_program_bytes: int
    shared_reserved_bytes: int
    shared_granularity_bytes: int
    l1_bytes: int


@dataclass(frozen=True, slots=True)
class PerClock:
    """What one SM does in a clock: lanes are scalar results, bytes are peak transfers."""

    fp32_lanes: int
    int_lanes: int
    special_lanes: int
    warp_instructions: int
    shared_bytes: int
    l2_read_bytes: int


@dataclass(frozen=True, slots=True)
class Target:
    """A device to estimate for. ``name`` is what the user writes, ``architecture`` what the compiler is given.

    ``peak_tflops``: vector units by dtype; ``tensor_tflops``: matrix units, dense. ``assumed`` names the values that no
    vendor document gives.
    """

    name: str
    architecture: str
    device: str
    vendor: str
    sources: tuple[str, ...]
    assumed: tuple[str, ...]
    limits: DeviceLimits
    sm: SmLimits
    per_clock: PerClock
    peak_tflops: dict[str, float]
    tensor_tflops: dict[str, float]
