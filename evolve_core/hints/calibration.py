"""Constants of the estimate that no document gives. Each is a guess with a reason until a measurement replaces it."""

from __future__ import annotations

from typing import Final

DRAM_EFFICIENCY: Final = 0.92
"""Share of the nominal DRAM bandwidth that a plain copy reaches; the rest is refresh and bus turnaround."""

L2_SHARE: Final = 0.7
"""Share of the L2 in which data that is read again can be found: writes and streams pass through the same cache."""

DEPENDENT_ISSUE_CYCLES: Final = 2.5
"""Clocks between two instructions of one warp: 4 for a dependent one, less where neighbours are independent."""

ISSUE_EFFICIENCY: Final = 0.9
"""Share of the issue slots that instruction streams fill: two-pass softmax in h200-variants.json, which they bound."""

LOOP_STEP_CYCLES: Final = 30.0
"""Counter, branch and address updates at the end of a step, none of which overlaps with the next step's loads."""

PIPELINE_STEP_CYCLES: Final = 80.0
"""Wait and barriers around one step of a software pipeline through shared memory."""

WARP_REDUCTION_CYCLES: Final = 150.0
"""Five dependent shuffles with their operations, about 30 clocks each."""

PROGRAM_REDUCTION_CYCLES: Final = 90.0
"""Two trips through shared memory and two barriers, when more than one warp takes part."""

BARRIER_CYCLES_PER_WARP: Final = 10.0
"""What each further warp adds to a reduction across warps: softmax with 8 to 32 warps in h200-variants.json."""

DISPATCH_NS: Final = 80.0
"""From one program to the next on one SM, when there is room for it: 0.6 ns for each program of a whole H200.

swiglu and vecadd with BLOCK=128 in h200-variants.json take 214 µs for 352,256 and 81 µs for 131,072 programs.
"""

L1_LATENCY_CYCLES: Final = 40.0
"""arXiv 2402.13499: 38 to 43 clocks on A100, RTX 4090, H100."""

SPILL_STEP_CYCLES: Final = 20.0
"""A spilled value comes back from the L1, mostly behind other work."""

ATOMIC_SECTORS: Final = 2.0
"""An atomic reads and writes its sector in the L2."""

WGMMA_EFFICIENCY: Final = 0.80
"""Asynchronous matrix instructions with operands in shared memory, in steady state, against the vendor's peak."""

MMA_ON_HOPPER: Final = 0.62
"""The older, synchronous instructions on a chip built for wgmma (arXiv 2402.13499, table of mma throughput)."""

MMA_EFFICIENCY: Final = 0.85
MFMA_EFFICIENCY: Final = 0.70
VECTOR_DOT_EFFICIENCY: Final = 0.60
"""A matrix product on the vector units: operands come out of shared memory, instructions in between."""

OVERLAP_POWER: Final = 4.0
"""How well different bottlenecks overlap: 1 adds their times, infinity takes the largest. A guess
that h200-variants.json has not contradicted."""
