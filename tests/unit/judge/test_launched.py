"""No candidate wins without a kernel: what each place where launches are seen says, through to the verdict."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evolve_core.judge.client import OpenedTask
from evolve_core.judge.compose import compose
from evolve_core.judge.observation import Check, Launch, Observation, Outcome, OutputCheck, Timing, Workload
from evolve_core.judge.verdict import Correctness, Failure, Speed, Stage
from evolve_core.task.model import Task, TaskKind

LAUNCH = Launch("w0", "softmax_kernel", (1, 1, 1), 0, 4, 2, {})
SEEN_IN_TRACE: dict[str, Any] = {"traced": True, "launches": (LAUNCH,)}
NEEDS_CONTENTS: dict[str, Any] = {"notes": ("the host code reads the contents of a tensor",)}


EXTENSION = ("softmax_rows(float const*, float*, int)", "Memset (Device)")
LIBRARY = ("void at::native::vectorized_elementwise_kernel<4, float>", "sm90_xmma_gemm_f32f32", "Memcpy DtoD")


def right(**counts: Any) -> Check:
    flags = dict.fromkeys(("type_ok", "dtype_ok", "shape_ok", "stride_ok", "nonfinite_ok", "exact"), True)
    output = OutputCheck(name="out", aliases_input=False, n=64, max_error=0.0, native_max=0.1, **flags)
    return replace(Check("w0", 7, "nan", Outcome.COMPARED, "", (), (output,), ()), **counts)


def timed(**counts: int) -> tuple[Timing, ...]:
    """Five processes in which the candidate takes half the time."""
    slow, fast = tuple(100e3 + i for i in range(9)), tuple(50e3 + i for i in range(9))
    row = Timing("w0", "confirmation", 0, slow, fast, cold_l2=True, all_outputs_checked=True)
    return tuple(replace(row, process=process, **counts) for process in range(5))


def seen(**what: Any) -> Observation:
    plain = Observation(None, (), (), (), (right(),), (), (), (), {})
    return replace(plain, **what)


def opened(**baseline: Any) -> OpenedTask:
    task = Task(Path("t"), Path("s"), TaskKind.ENTRY, "softmax", (), has_reference=True, has_domain=True)
    workload = Workload("w0", "x[64]", 1.0, "listed", "both", (), {})
    return OpenedTask("t", task, "", "", "gpu", (workload,), seen(**(baseline or SEEN_IN_TRACE)))


def verdict(task: OpenedTask, observed: Observation) -> Any:
    return compose(task, observed, target="sm_90", stage=Stage.CONFIRMATION)


@pytest.mark.parametrize(
    ("baseline", "candidate"),
    [
        (SEEN_IN_TRACE, {**SEEN_IN_TRACE, "timing": timed()}),
        (SEEN_IN_TRACE, {**SEEN_IN_TRACE, "timing": timed(baseline_launches=1, candidate_launches=2)}),
        (SEEN_IN_TRACE, {**NEEDS_CONTENTS, "timing": timed(baseline_launches=1, candidate_launches=1)}),
        (NEEDS_CONTENTS, {**NEEDS_CONTENTS, "timing": timed(baseline_launches=1, candidate_launches=1)}),
        # An extension's kernels are not launched by Triton.
        (
            SEEN_IN_TRACE,
            {
                **NEEDS_CONTENTS,
                "checks": (right(device_kernels=EXTENSION),),
                "timing": timed(baseline_launches=1, candidate_launches=0),
            },
        ),
        (SEEN_IN_TRACE, {**NEEDS_CONTENTS, "checks": (right(device_kernels=EXTENSION),), "timing": timed()}),
        # A CUDA kernel is not launched by Triton, nor a baseline that is no kernel at all.
        (SEEN_IN_TRACE, {**SEEN_IN_TRACE, "timing": timed(baseline_launches=0, candidate_launches=0)}),
    ],
)
def test_a_candidate_that_launches_wins(baseline: dict[str, Any], candidate: dict[str, Any]) -> None:
    found = verdict(opened(**baseline), seen(**candidate))
    assert (found.correctness, found.speed, found.is_winner) == (Correctness.CORRECT, Speed.FASTER, True)


@pytest.mark.parametrize(
    ("baseline", "candidate"),
    [
        # Host code that reads contents cannot be traced: nothing was seen of it but its speed.
        (SEEN_IN_TRACE, {**NEEDS_CONTENTS, "timing": timed()}),
        (SEEN_IN_TRACE, {**NEEDS_CONTENTS, "timing": timed(baseline_launches=1, candidate_launches=0)}),
        (NEEDS_CONTENTS, {**NEEDS_CONTENTS, "timing": timed(baseline_launches=1, candidate_launches=0)}),
        # What ran on the device is the library's.
        (
            SEEN_IN_TRACE,
            {
                **NEEDS_CONTENTS,
                "checks": (right(device_kernels=LIBRARY),),
                "timing": timed(baseline_launches=1, candidate_launches=0),
            },
        ),
        # It launched while it was traced, and not while it was timed.
        (SEEN_IN_TRACE, {**SEEN_IN_TRACE, "timing": timed(baseline_launches=1, candidate_launches=0)}),
        (SEEN_IN_TRACE, {**SEEN_IN_TRACE, "checks": (right(launches=0, native_launches=1),)}),
    ],
)
def test_without_a_sign_of_a_launch_it_stays_unverified(baseline: dict[str, Any], candidate: dict[str, Any]) -> None:
    found = verdict(opened(**baseline), seen(**candidate))
    assert (found.correctness, found.speed, found.is_winner) == (Correctness.UNVERIFIED, Speed.UNMEASURED, False)
    assert "launch" in found.reason


@pytest.mark.parametrize(
    "candidate",
    [
        {"traced": True, "timing": timed()},
        # A note about something else excuses nothing.
        {"traced": True, "notes": ("first of 2 autotune configurations",), "timing": timed()},
        {"traced": True, "launches": (replace(LAUNCH, workload="w9"),), "timing": timed()},
        {**NEEDS_CONTENTS, "checks": (right(launches=0, native_launches=1),)},
    ],
)
def test_host_code_that_ran_to_its_end_without_a_launch_is_cheating(candidate: dict[str, Any]) -> None:
    found = verdict(opened(), seen(**candidate))
    assert (found.failure, found.correctness, found.is_winner) == (Failure.CHEATING, Correctness.UNVERIFIED, False)
    assert "launches no kernel" in found.reason
