"""Clocks that one program needs on an SM's issue slots and matrix units."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from evolve_core.hints import calibration as c

if TYPE_CHECKING:
    from collections.abc import Callable

    from evolve_core.hints.model import KernelFacts, WorkProfile
    from evolve_core.targets.model import Target

_IN_LOOP = "loop."
# Rows of a matrix product that one group of four warps computes at a time (PTX ISA, wgmma.mma_async: m64nNk16).
_WGMMA_ROWS = 64


def instructions_per_warp(facts: KernelFacts, work: WorkProfile, target: Target) -> float:
    """Instructions that a warp executes: counted in the binary's text, those inside a loop once for each of its steps.

    Without such a count, or for loops when the text does not tell what is inside, operations on elements stand in: half
    of the integer ones, since a thread computes one address for a vector of elements.
    """
    inside = sum(n for name, n in facts.instructions.items() if name.startswith(_IN_LOOP))
    total = sum(n for name, n in facts.instructions.items() if not name.startswith(_IN_LOOP))
    elements = work.fp_ops_per_program + work.special_ops_per_program + work.int_ops_per_program / 2
    by_elements = elements / (facts.num_warps * target.sm.warp_size)
    if not total:
        return by_elements
    if not work.loop_steps_per_program:
        return float(total)
    if not inside:
        return max(float(total), by_elements)
    steps = work.loop_steps_per_program / max(1.0, work.loops_per_program)
    return total - inside + inside * max(1.0, steps)


def issue_cycles(facts: KernelFacts, work: WorkProfile, target: Target) -> float:
    """Clocks of an SM's issue slots per program."""
    slots = target.per_clock.warp_instructions * c.ISSUE_EFFICIENCY
    return facts.num_warps * instructions_per_warp(facts, work, target) / slots


def tensor_cycles(facts: KernelFacts, work: WorkProfile, target: Target) -> float:
    """Clocks of an SM's matrix units (or of its vector units, where the compiler chose those) per program."""
    return sum(
        flops / (_flops_per_clock(facts, dtype, target) * _efficiency(facts, work, dtype, target))
        for dtype, flops in work.dot_flops_per_program.items()
    )


def _flops_per_clock(facts: KernelFacts, dtype: str, target: Target) -> float:
    tflops = target.peak_tflops["fp32"]
    if facts.tensor_core:
        tflops = target.tensor_tflops.get(dtype, tflops)
    return tflops * 1e6 / (target.limits.sms * target.limits.clock_mhz)


def _efficiency(facts: KernelFacts, work: WorkProfile, dtype: str, target: Target) -> float:
    """Share of the peak: what the instruction reaches at best, times what shared memory can feed it with."""
    if facts.tensor_core in ("wgmma", "tcgen05"):  # both read their operands from shared memory, asynchronously
        return c.WGMMA_EFFICIENCY * _fed(facts, work, dtype, target, _wgmma_operand_elements)
    if facts.tensor_core in ("mma", "wmma"):
        best = c.MMA_ON_HOPPER if target.architecture in ("sm_90", "sm_100") else c.MMA_EFFICIENCY
        return best * _fed(facts, work, dtype, target, _mma_operand_elements)
    return c.MFMA_EFFICIENCY if facts.tensor_core == "mfma" else c.VECTOR_DOT_EFFICIENCY


_ITEM_BYTES = {"fp64": 8.0, "fp32": 4.0, "tf32": 4.0, "fp16": 2.0, "bf16": 2.0, "fp8": 1.0, "int8": 1.0, "fp4": 0.5}


def _fed(
    facts: KernelFacts,
    work: WorkProfile,
    dtype: str,
    target: Target,
    operand_elements: Callable[[float, float, int], float],
) -> float:
    """Time of the products over time to read their operands from shared memory, at most 1, for one column of k."""
    m, n, _ = (float(size) for size in work.dot_tile)
    if not m or not n:
        return 1.0
    product = 2.0 * m * n / _flops_per_clock(facts, dtype, target)
    elements = operand_elements(m, n, facts.num_warps)
    read = elements * _ITEM_BYTES.get(dtype, 2.0) / target.per_clock.shared_bytes
    return min(1.0, product / read)


def _wgmma_operand_elements(m: float, n: float, num_warps: int) -> float:
    """Each group of four warps reads its 64 rows of the left operand and all its columns of the right one."""
    groups = max(1, num_warps // 4)
    rows = max(1.0, m / _WGMMA_ROWS)
    columns_split = max(1.0, groups / rows)
    return rows * columns_split * (_WGMMA_ROWS + n / columns_split)


def _mma_operand_elements(m: float, n: float, num_warps: int) -> float:
    """Warps divide the tile as squarely as powers of two allow; each reads its own rows and columns."""
    splits = [2**i for i in range(int(math.log2(num_warps)) + 1)] if num_warps > 1 else [1]
    best = min(splits, key=lambda rows: m / rows + n / (num_warps / rows))
    return num_warps * (m / best + n / (num_warps / best))
