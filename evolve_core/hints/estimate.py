"""Predicted time of one launch on a named target, out of compile-only facts and sampled work.

An SM is a queue: programs wait for one of its R places, and each place is held for a program's own serial time.
Beside that, every shared resource (DRAM, L2, load/store units, issue slots, matrix units) needs its time for the whole
launch. The slowest of these carries the launch; the others hide behind it as well as ``OVERLAP_POWER`` says. The result
never falls below the roofline. What matters is the order of variants of one kernel, not the absolute number.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evolve_core.hints import calibration as c
from evolve_core.hints.compute import instructions_per_warp, issue_cycles, tensor_cycles
from evolve_core.hints.model import Estimate, KernelFacts, WorkProfile
from evolve_core.hints.traffic import Traffic, traffic
from evolve_core.targets.occupancy import Occupancy, occupancy, why_not_launchable
from evolve_core.targets.roofline import roofline_us

if TYPE_CHECKING:
    from evolve_core.targets.model import Target


@dataclass(frozen=True, slots=True)
class _Setting:
    """One launch on one target, with what every term needs."""

    facts: KernelFacts
    work: WorkProfile
    target: Target
    occupancy: Occupancy
    traffic: Traffic

    @property
    def cycles_per_us(self) -> float:
        return self.target.limits.clock_mhz

    @property
    def busiest_sm_programs(self) -> int:
        """Programs that the SM with the most of them runs: a launch ends when that one does."""
        return math.ceil(self.work.programs / self.target.limits.sms)

    @property
    def residents(self) -> int:
        """Programs on one SM at a time."""
        return max(1, min(self.occupancy.programs_per_sm, self.busiest_sm_programs))

    def on_busiest_sm_us(self, cycles_per_program: float) -> float:
        return self.busiest_sm_programs * cycles_per_program / self.cycles_per_us


def estimate(facts: KernelFacts, work: WorkProfile, target: Target) -> Estimate:
    """Estimated microseconds of the launch, with what bounds it. Never a measurement.

    A program that cannot start on the target gives ``launchable=False`` with the reason, and an infinite time.
    """
    reason = why_not_launchable(target, facts.registers, facts.shared_bytes, facts.num_warps)
    here = occupancy(target, facts.registers, facts.shared_bytes, facts.num_warps)
    if reason or here.programs_per_sm < 1:
        return Estimate(math.inf, "launch", 0.0, 0.0, 0.0, 0.0, 0.0, False, reason or "no program fits on an SM")
    setting = _Setting(facts, work, target, here, traffic(facts, work, target, here.programs_per_sm))
    terms = _terms(setting)
    contended_us = _combined(terms)
    busy_us = max(contended_us + _ramp_us(setting), terms["launch"], floor_us(work, target))
    time_us = target.limits.launch_overhead_us + busy_us
    bound = max(terms, key=lambda name: terms[name])
    return Estimate(
        time_us=time_us,
        bound=bound if terms[bound] > target.limits.launch_overhead_us else "launch",
        occupancy=here.fraction,
        waves=work.programs / (target.limits.sms * here.programs_per_sm),
        dram_us=terms["dram"],
        compute_us=max(terms["tensor"], terms["fp32"], terms["special"]),
        issue_us=terms["issue"],
    )


def floor_us(work: WorkProfile, target: Target) -> float:
    """The roofline of the launch, in microseconds: no implementation that does this work can be faster."""
    flops = {dtype: n * work.programs for dtype, n in work.dot_flops_per_program.items()}
    return roofline_us(target, work.compulsory_bytes, flops)


def _terms(s: _Setting) -> dict[str, float]:
    """Microseconds that each resource is busy for, or that the chain of one SM's programs takes (``latency``)."""
    return {
        "dram": s.traffic.dram_bytes / (s.target.limits.dram_gbps * 1e3 * c.DRAM_EFFICIENCY),
        "l2": _l2_us(s),
        "tensor": s.on_busiest_sm_us(tensor_cycles(s.facts, s.work, s.target)),
        "fp32": s.on_busiest_sm_us(s.work.fp_ops_per_program / s.target.per_clock.fp32_lanes),
        "special": s.on_busiest_sm_us(s.work.special_ops_per_program / s.target.per_clock.special_lanes),
        "issue": s.on_busiest_sm_us(max(issue_cycles(s.facts, s.work, s.target), s.traffic.load_store_cycles)),
        "latency": s.busiest_sm_programs / s.residents * _serial_us(s),
        "launch": s.busiest_sm_programs * c.DISPATCH_NS * 1e-3,
    }


def _combined(terms: dict[str, float]) -> float:
    """Resources that hinder each other when all of them are busy.

    The matrix units' time is part of the programs' serial chain, so only the longer of the two counts. Starting
    programs hinders nothing else and stays out.
    """
    chain = max(terms["tensor"], terms["latency"])
    busy_us = [chain, *(terms[name] for name in ("dram", "l2", "fp32", "special", "issue"))]
    return math.pow(math.fsum(us**c.OVERLAP_POWER for us in busy_us), 1.0 / c.OVERLAP_POWER)


def _ramp_us(s: _Setting) -> float:
    """What the slowest resource waits for while the first programs fill the machine and the last ones drain out of it.

    That is one program's serial time, since its loads, arithmetic and stores follow each other. A software pipeline
    keeps all of them busy from its first step to its last: there it is one step.
    """
    steps = s.work.loop_steps_per_program / max(1.0, s.work.loops_per_program)
    return _serial_us(s) / (max(1.0, steps) if _is_pipelined(s) else 1.0)


def _is_pipelined(s: _Setting) -> bool:
    return s.facts.async_copy and s.facts.num_stages > 1 and s.work.loop_steps_per_program > 0


def _l2_us(s: _Setting) -> float:
    """The cache as a whole, and the port of the busiest SM into it."""
    whole = s.traffic.l2_bytes_per_program * s.work.programs / (s.target.limits.l2_gbps * 1e3)
    port = s.on_busiest_sm_us(s.traffic.l2_bytes_per_program / s.target.per_clock.l2_read_bytes)
    return max(whole, port)


def _serial_us(s: _Setting) -> float:
    """How long one program holds its place when nothing else slows it down."""
    issued = instructions_per_warp(s.facts, s.work, s.target) * c.DEPENDENT_ISSUE_CYCLES
    products = tensor_cycles(s.facts, s.work, s.target)
    # Asynchronous matrix instructions run beside the others; synchronous ones are part of a warp's chain.
    cycles = max(issued, products) if _is_pipelined(s) else issued + products
    cycles += s.work.reductions_per_program * _reduction_cycles(s.facts.num_warps) + s.traffic.spill_cycles
    return s.target.limits.program_start_ns * 1e-3 + cycles / s.cycles_per_us + _memory_wait_us(s)


def _reduction_cycles(num_warps: int) -> float:
    if num_warps == 1:
        return c.WARP_REDUCTION_CYCLES
    return c.WARP_REDUCTION_CYCLES + c.PROGRAM_REDUCTION_CYCLES + num_warps * c.BARRIER_CYCLES_PER_WARP


def _memory_wait_us(s: _Setting) -> float:
    """Trips to memory that the program waits for, one after another.

    Loads that follow each other leave together; one that comes after a loop step or a reduction makes another trip. A
    software pipeline has ``num_stages - 1`` steps of loads in flight (cp.async, TMA) and waits for what is left.
    """
    latency = s.traffic.mean_latency_us
    steps = s.work.loop_steps_per_program
    if _is_pipelined(s):
        return latency + steps * (latency * _exposed(s) + c.PIPELINE_STEP_CYCLES / s.cycles_per_us)
    trips = s.work.memory_trips_per_program or steps or float(s.work.load_bytes_per_program > 0)
    return trips * latency + steps * c.LOOP_STEP_CYCLES / s.cycles_per_us


def _exposed(s: _Setting) -> float:
    """Share of a pipelined load's latency that neither the stages in flight nor a step's matrix work cover."""
    latency = s.traffic.mean_latency_us
    steps = s.work.loop_steps_per_program
    step_us = tensor_cycles(s.facts, s.work, s.target) / steps / s.cycles_per_us
    covered = step_us * (s.facts.num_stages - 1)
    return max(0.0, 1.0 - covered / latency) / (s.facts.num_stages - 1) if latency else 0.0
