"""The floor under any implementation: what must move over the bandwidth, what must be computed over the peak."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from evolve_core.targets.model import Target


def peak_tflops(target: Target, dtype: str) -> float:
    """The highest rate at which the device multiplies matrices of ``dtype`` (fp16, bf16, tf32, fp32, fp8, int8 …)."""
    vector = target.peak_tflops.get(dtype, target.peak_tflops["fp32"])
    return max(vector, target.tensor_tflops.get(dtype, 0.0))


def roofline_us(target: Target, dram_bytes: float, dot_flops: Mapping[str, float], fp32_flops: float = 0.0) -> float:
    """Microseconds below which the work cannot be done (Williams, Waterman, Patterson 2009: the roofline model).

    ``dot_flops`` by dtype run on the matrix units one after another, beside the memory traffic and the vector units.
    """
    memory = dram_bytes / (target.limits.dram_gbps * 1e3)
    tensor = sum(flops / (peak_tflops(target, dtype) * 1e6) for dtype, flops in dot_flops.items())
    vector = fp32_flops / (target.peak_tflops["fp32"] * 1e6)
    return max(memory, tensor, vector)
