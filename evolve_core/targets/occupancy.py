"""How many programs share an SM: the rules of NVIDIA's occupancy calculator (CUDA Toolkit, ``cuda_occupancy.h``)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evolve_core.targets.model import Target


class Limiter(StrEnum):
    """What keeps one more program from fitting."""

    WARPS = "warps"
    PROGRAMS = "programs"
    REGISTERS = "registers"
    SHARED = "shared memory"


@dataclass(frozen=True, slots=True)
class Occupancy:
    """``fraction`` = active warps over the most an SM can hold; 0 where not even one program fits."""

    active_warps: int
    programs_per_sm: int
    limiter: Limiter
    fraction: float


def occupancy(target: Target, registers: int, shared_bytes: int, num_warps: int) -> Occupancy:
    """Occupancy of a kernel with ``registers`` per thread and ``shared_bytes`` per program."""
    limits = {
        Limiter.WARPS: target.sm.max_warps // num_warps,
        Limiter.PROGRAMS: target.sm.max_programs,
        Limiter.REGISTERS: _programs_by_registers(target, registers, num_warps),
        Limiter.SHARED: _programs_by_shared(target, shared_bytes),
    }
    limiter = min(limits, key=lambda limit: limits[limit])
    programs = limits[limiter]
    active = programs * num_warps
    return Occupancy(active, programs, limiter, active / target.sm.max_warps)


def why_not_launchable(target: Target, registers: int, shared_bytes: int, num_warps: int) -> str:
    """In one sentence why a program of this size cannot start on the target; "" where it can."""
    sm = target.sm
    if num_warps > sm.max_warps_per_program:
        return f"{num_warps} warps in a program, {target.name} allows {sm.max_warps_per_program}"
    if shared_bytes > sm.shared_per_program_bytes:
        return f"{shared_bytes} bytes of shared memory in a program, {target.name} allows {sm.shared_per_program_bytes}"
    if registers > sm.registers_per_thread:
        return f"{registers} registers in a thread, {target.name} allows {sm.registers_per_thread}"
    if _programs_by_registers(target, registers, num_warps) < 1:
        return f"{registers} registers × {num_warps * sm.warp_size} threads, {target.name} has {sm.registers} on an SM"
    return ""


def _programs_by_registers(target: Target, registers: int, num_warps: int) -> int:
    """A warp lives on one partition and takes its registers there, rounded up; leftovers do not add up."""
    sm = target.sm
    if registers <= 0:
        return sm.max_programs
    per_warp = _round_up(registers * sm.warp_size, sm.register_granularity)
    warps = (sm.registers // sm.partitions // per_warp) * sm.partitions
    return warps // num_warps


def _programs_by_shared(target: Target, shared_bytes: int) -> int:
    sm = target.sm
    per_program = _round_up(shared_bytes + sm.shared_reserved_bytes, sm.shared_granularity_bytes)
    return sm.shared_bytes // per_program if per_program else sm.max_programs


def _round_up(value: int, step: int) -> int:
    return -(-value // step) * step
