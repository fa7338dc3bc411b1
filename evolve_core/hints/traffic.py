"""Where the bytes of a launch come from: DRAM, L2 or L1, and what the load/store units do for them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evolve_core.hints import calibration as c

if TYPE_CHECKING:
    from evolve_core.hints.model import KernelFacts, WorkProfile
    from evolve_core.targets.model import Target

_SECTOR_BYTES = 32


@dataclass(frozen=True, slots=True)
class Traffic:
    """``dram_bytes`` of the whole launch, ``load_store_cycles`` per program, ``mean_latency_us`` of a load."""

    dram_bytes: float
    l2_bytes_per_program: float
    load_store_cycles: float
    mean_latency_us: float
    spill_cycles: float


def traffic(facts: KernelFacts, work: WorkProfile, target: Target, residents: int) -> Traffic:
    """Splits what the sampled programs asked for over the memory system, with ``residents`` programs on each SM."""
    missed = _sectors_missing_l1(facts, work, target, residents)
    atomics = work.atomic_ops_per_program * c.ATOMIC_SECTORS
    l2_bytes = (missed + work.store_sectors_per_program + atomics) * _SECTOR_BYTES
    loaded_from_dram = _dram_load_bytes(work, target, residents)
    return Traffic(
        dram_bytes=max(work.compulsory_bytes, loaded_from_dram + _stored_bytes(work)),
        l2_bytes_per_program=l2_bytes,
        load_store_cycles=_load_store_cycles(facts, work, target),
        mean_latency_us=_mean_latency_us(work, target, missed, loaded_from_dram),
        spill_cycles=_spill_cycles(facts, work, target),
    )


def _stored_bytes(work: WorkProfile) -> float:
    return min(work.programs * work.store_sectors_per_program * _SECTOR_BYTES, work.compulsory_bytes)


def _sectors_missing_l1(facts: KernelFacts, work: WorkProfile, target: Target, residents: int) -> float:
    """Sectors a program asks the L2 for: each one once, and again what the L1 could not keep until it was re-read.

    The L1 is what shared memory leaves of the SM's storage; programs on the SM divide it.
    """
    again = max(0.0, work.load_sectors_per_program - work.unique_sectors_per_program)
    room = max(0.0, target.sm.l1_bytes - residents * facts.shared_bytes) / residents
    wanted = work.unique_sectors_per_program * _SECTOR_BYTES
    kept = min(1.0, room / wanted) if wanted else 1.0
    return work.unique_sectors_per_program + again * (1.0 - kept)


def sharing(work: WorkProfile, wave: float) -> float:
    """Distinct sectors over requested sectors when ``wave`` consecutive programs run together: 1 = nothing is shared.

    The sampled wave has its own size; between that and this one, distinct sectors grow as a power of the number
    of programs (power 1: nothing shared, 0: all the same data, ½: a square patch of a matrix product's tiles).
    """
    own, n = work.unique_sectors_per_program, work.wave_programs
    if n < 2 or own <= 0 or wave <= 1:
        return 1.0
    together = min(max(work.wave_unique_sectors, own), n * own)
    power = math.log(together / own) / math.log(n)
    return min(1.0, math.pow(wave, power - 1.0))


def _dram_load_bytes(work: WorkProfile, target: Target, residents: int) -> float:
    """Loads that reach DRAM: each wave fetches its distinct sectors; later waves find some of them still in the L2."""
    wave = min(work.programs, target.limits.sms * residents)
    fetched = work.programs * work.unique_sectors_per_program * _SECTOR_BYTES * sharing(work, wave)
    once = min(fetched, max(0.0, work.compulsory_bytes - _stored_bytes(work)))
    usable = target.limits.l2_bytes * c.L2_SHARE
    kept = min(1.0, usable / once) if once else 1.0
    return once + (fetched - once) * (1.0 - kept)


def _load_store_cycles(facts: KernelFacts, work: WorkProfile, target: Target) -> float:
    """Clocks of an SM's load/store units: one a request of a warp or a cache line's tag, or as the data takes.

    An asynchronous copy looks its tags up and then takes the way into shared memory, which registers do not.
    """
    lanes = target.sm.warp_size
    sectors_per_clock = target.per_clock.shared_bytes / _SECTOR_BYTES
    loads = work.load_bytes_per_program / (_mean_bits(facts.load_bits) / 8 * lanes)
    stores = work.store_bytes_per_program / (_mean_bits(facts.store_bits) / 8 * lanes)
    load_data = work.load_sectors_per_program / sectors_per_clock
    load_tags = max(loads, work.load_lines_per_program)
    return (
        (load_tags + load_data if facts.async_copy else max(load_tags, load_data))
        + max(stores, work.store_lines_per_program, work.store_sectors_per_program / sectors_per_clock)
        + work.atomic_ops_per_program / lanes * c.ATOMIC_SECTORS
    )


def _mean_bits(widths: tuple[int, ...]) -> float:
    """Which width carries which share of the bytes is not known; 32 bits where no width is."""
    return sum(widths) / len(widths) if widths else 32.0


def _mean_latency_us(work: WorkProfile, target: Target, missed: float, dram_load_bytes: float) -> float:
    asked = work.load_sectors_per_program
    if asked <= 0 or not work.programs:
        return 0.0
    from_dram = min(1.0, dram_load_bytes / (work.programs * asked * _SECTOR_BYTES))
    from_l2 = max(0.0, min(1.0, missed / asked) - from_dram)
    from_l1 = max(0.0, 1.0 - from_dram - from_l2)
    l1_ns = c.L1_LATENCY_CYCLES / target.limits.clock_mhz * 1e3
    mean_ns = from_dram * target.limits.dram_latency_ns + from_l2 * target.limits.l2_latency_ns + from_l1 * l1_ns
    return mean_ns * 1e-3


def _spill_cycles(facts: KernelFacts, work: WorkProfile, target: Target) -> float:
    """Spilled registers pass the load/store units again, once per loop step in the worst case."""
    words = facts.spill_bytes / 4
    rounds = max(1.0, work.loop_steps_per_program / max(1.0, work.loops_per_program))
    return words * rounds * facts.num_warps * target.sm.warp_size * 4 / target.per_clock.shared_bytes + (
        rounds * c.SPILL_STEP_CYCLES if words else 0.0
    )
