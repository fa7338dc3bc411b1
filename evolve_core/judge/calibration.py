"""What one device can do at most and how finely it can be timed, measured once and kept for every later verdict.

The judge host measures (judge/host/gpu/calibrate.py) and sends raw samples; what they come to is worked out here, in a
process that touches no GPU.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median, stdev
from typing import Any

from evolve_core.errors import KernelEvolveError
from evolve_core.judge.observation import Timing, parse_timing
from evolve_core.judge.statistics import median_log_ratio, percentile
from evolve_core.judge.timing import NULL_SHARE, null_delta

TRAFFIC = ("read", "write", "copy", "triad")
PRODUCTS = ("fp32", "tf32", "fp16", "bf16")


class NotCalibrated(KernelEvolveError):
    """The device could not be measured. The message says why and what to do next."""


@dataclass(frozen=True, slots=True)
class Noise:
    """One kernel against itself by the protocol of a confirmation: fresh processes, ``pairs`` of calls in each.

    ``percentile`` is the 97.5th of |log ratio| over the processes' medians, ``spread`` their standard deviation from
    process to process (the larger of the two sizes that were timed).
    """

    percentile: float
    spread: float
    processes: int
    pairs: int


@dataclass(frozen=True, slots=True)
class Calibration:
    """One device under one driver. ``measured_at``: seconds since the epoch.

    ``bandwidth_gbps`` (10^9 bytes a second) by kind of traffic, ``tflops`` by type, both out of the fastest of several
    calls: peaks. ``launch_us``: an empty kernel at its fastest; ``empty_us``: nothing at all, by the same clock.
    ``flush_us``: overwriting twice the L2 cache, which precedes every timed call.
    """

    device_uuid: str
    device: str
    driver: str
    capability: str
    torch: str
    triton: str
    measured_at: float
    bandwidth_gbps: Mapping[str, float]
    tflops: Mapping[str, float]
    launch_us: float
    empty_us: float
    l2_bytes: int
    flush_us: float
    noise: Noise

    @property
    def delta(self) -> float:
        """The smallest difference that is called one here: max(0.5 %, the 97.5th percentile of A/A)."""
        return null_delta([self.noise.percentile])

    @property
    def peak_gbps(self) -> float:
        """The fastest that memory was seen to be, whatever the traffic."""
        return max(self.bandwidth_gbps.values())

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Calibration:
        """Raises KeyError, TypeError or ValueError where ``data`` is nothing that ``to_json`` gave."""
        noise = Noise(
            percentile=float(data["noise"]["percentile"]),
            spread=float(data["noise"]["spread"]),
            processes=int(data["noise"]["processes"]),
            pairs=int(data["noise"]["pairs"]),
        )
        return cls(
            device_uuid=str(data["device_uuid"]),
            device=str(data["device"]),
            driver=str(data["driver"]),
            capability=str(data["capability"]),
            torch=str(data["torch"]),
            triton=str(data["triton"]),
            measured_at=float(data["measured_at"]),
            bandwidth_gbps={name: _positive(data["bandwidth_gbps"][name]) for name in TRAFFIC},
            tflops={name: _positive(data["tflops"][name]) for name in PRODUCTS},
            launch_us=float(data["launch_us"]),
            empty_us=float(data["empty_us"]),
            l2_bytes=int(data["l2_bytes"]),
            flush_us=float(data["flush_us"]),
            noise=noise,
        )


def calibration_of(answer: Mapping[str, Any], now: float) -> Calibration:
    """What the host's answer to ``calibrate`` comes to. Raises NotCalibrated where it says that it failed, KeyError,
    TypeError or ValueError where it is none.
    """
    if answer["failure"] is not None:
        raise NotCalibrated(
            f"The GPU was not calibrated ({answer['failure']['kind']}): {answer['failure']['message']}. "
            "Nothing was stored; mend that and run `kernel-evolve calibrate` again."
        )
    device, environment = answer["device"], answer["environment"]
    probes = {str(one["name"]): one for one in answer["probes"]}
    return Calibration(
        device_uuid=str(device["uuid"]),
        device=str(device["name"]),
        driver=str(device["driver"]),
        capability=str(device["capability"]),
        torch=str(environment["torch"]),
        triton=str(environment["triton"]),
        measured_at=now,
        bandwidth_gbps={name: _per_ns(probes[name]) for name in TRAFFIC},
        tflops={name: _per_ns(probes[name]) / 1e3 for name in PRODUCTS},
        launch_us=min(probes["empty kernel"]["ns"]) / 1e3,
        empty_us=median(probes["nothing"]["ns"]) / 1e3,
        l2_bytes=int(environment["l2_bytes"]),
        flush_us=median(probes["flush"]["ns"]) / 1e3,
        noise=noise_of([parse_timing(one) for one in answer["timing"]]),
    )


def noise_of(timings: Sequence[Timing]) -> Noise:
    """The noise in several processes' samples of kernels against themselves. Raises ValueError for fewer than two
    processes.
    """
    medians: dict[str, list[float]] = {}
    for one in timings:
        medians.setdefault(one.workload, []).append(median_log_ratio(one.baseline_ns, one.candidate_ns))
    if not medians or min(map(len, medians.values())) < 2:
        raise ValueError("noise from process to process needs two processes")
    everything = [abs(ratio) for ratios in medians.values() for ratio in ratios]
    return Noise(
        percentile=percentile(everything, NULL_SHARE),
        spread=max(stdev(ratios) for ratios in medians.values()),
        processes=len({one.process for one in timings}),
        pairs=min(len(one.baseline_ns) for one in timings),
    )


def _per_ns(probe: Mapping[str, Any]) -> float:
    """Work in a nanosecond at the fastest: 10^9 bytes (or operations) a second."""
    return _positive(probe["work"] / min(probe["ns"]))


def _positive(value: Any) -> float:
    number = float(value)
    if not 0 < number < math.inf:
        raise ValueError(f"{value!r} is no rate")
    return number
