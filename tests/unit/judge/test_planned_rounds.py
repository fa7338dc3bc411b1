"""Conductor and bench with plans in place of host code, on the CPU: what kernels and torch's operators each did."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from test_gpu_rounds import double, job, runner

from evolve_core.judge.correctness import Accepted, Rejected, judge_checks, run_to_run
from evolve_core.judge.host.gpu import planned
from evolve_core.judge.host.gpu.guarded import Edge
from evolve_core.judge.host.gpu.job import GpuJob
from evolve_core.judge.host.gpu.kernels import Kernels
from evolve_core.judge.host.gpu.planned import PlannedRunner
from evolve_core.judge.host.gpu.repeats import CONFIRMATION_REPEATS, SCREENING_REPEATS, repeated
from evolve_core.judge.host.gpu.run import judge_on_gpu
from evolve_core.judge.host.plan import (
    Argument,
    Given,
    KernelLaunch,
    LaunchPlan,
    Memory,
    Operand,
    OperandKind,
    Operation,
    Output,
    View,
)
from evolve_core.judge.host.planreading import plan_from
from evolve_core.judge.launched import idle_kernels
from evolve_core.judge.observation import Observation, Repeats, parse_observation

__all__ = ["job"]

COUNT = 33
X, OUT, OTHER = (View(number, 0, "float32", (COUNT,), (1,)) for number in range(3))
LAUNCH = KernelLaunch("0" * 64, "double", (1, 1, 1), (32, 1, 1), 0, (Argument(memory=0), Argument(memory=1)))
DOUBLED = Operation(
    "aten::mul.Tensor",
    (Operand("self", OperandKind.TENSOR, (X,)), Operand("other", OperandKind.PLAIN, value=2)),
    (OTHER,),
)


def plan(steps: tuple[Any, ...], output: View) -> LaunchPlan:
    memories = (Memory("x", "float32", 0), Memory("", "float32", COUNT), Memory("", "float32", COUNT))
    givens = (Given("x", "float32", (COUNT,), (1,)),)
    return plan_from(LaunchPlan(givens, memories, steps, (Output("out", output),)).as_json())


ONE = Operand("other", OperandKind.PLAIN, value=1)
OWN = plan((LAUNCH,), OUT)
FINISHED = plan((LAUNCH, replace(DOUBLED, operands=(Operand("self", OperandKind.TENSOR, (OUT,)), ONE))), OTHER)
DECOY = plan((LAUNCH, DOUBLED), OTHER)


class Guarded:
    """Memory of the CPU in place of the device's: it holds what it is told to, and nothing is watched."""

    edge: Edge
    """Of the latest run."""

    def begin(self, edge: Edge, pattern: int) -> None:
        Guarded.edge = edge
        self._pattern = pattern

    def empty(self, count: int, dtype: torch.dtype) -> torch.Tensor:
        whole = torch.empty(count, dtype=dtype)
        whole.view(torch.uint8).fill_(self._pattern)
        return whole

    def like(self, tensor: torch.Tensor, alignment: int = 16) -> torch.Tensor:
        return tensor.clone()

    def disturbed(self) -> bool:
        return False


def launched(
    self: Kernels, step: KernelLaunch, buffers: Mapping[int, torch.Tensor], scratch: torch.Tensor | None
) -> None:
    torch.mul(buffers[0], 2, out=buffers[1])


@pytest.fixture
def planned_job(job: GpuJob, monkeypatch: pytest.MonkeyPatch) -> GpuJob:
    monkeypatch.setattr(planned, "guarded_memory", Guarded)
    monkeypatch.setattr(Kernels, "launch", launched)
    # There are no binaries to look into.
    monkeypatch.setattr(Kernels, "keep_memory", lambda self, steps: False)
    own = {"load_baseline": load(OWN), "load_native": runner(double), "load_plans": lambda plans: load(*plans)()}
    return replace(job, timed=[], **own)


def load(plan: LaunchPlan) -> Any:
    return lambda: PlannedRunner([plan], Path(), "cpu")


def seen(job: GpuJob, candidate: LaunchPlan) -> Observation:
    found = judge_on_gpu(replace(job, load_candidate=load(candidate)))
    assert found["failure"] is None, found["failure"]
    assert all(check["outputs"][0]["exact"] for check in found["checks"])
    nothing: dict[str, Any] = {"kernels": [], "launches": [], "work": []}
    return parse_observation({**nothing, **found})


def test_kernels_that_did_the_work_are_told_from_a_decoy(planned_job: GpuJob) -> None:
    """The decoy's kernel computes the right thing, too: into memory that nobody looks at."""
    honest, decoy = seen(planned_job, FINISHED), seen(planned_job, DECOY)
    assert [check.idle_equal for check in honest.checks if check.idle_equal is not None] == [False]
    assert not idle_kernels(honest.checks)
    assert "where its kernels do nothing" in idle_kernels(decoy.checks)


def test_an_order_that_goes_by_where_tensors_lie_is_not_blamed_on_memory(
    planned_job: GpuJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sums by atomics can come out one way at one place and another way at the other, time after time."""

    def by_place(
        self: Kernels, step: KernelLaunch, buffers: Mapping[int, torch.Tensor], scratch: torch.Tensor | None
    ) -> None:
        torch.mul(buffers[0], 2, out=buffers[1])
        buffers[1].add_(2.0**-20 if Guarded.edge is Edge.BACK else 0)

    def unwritten(
        self: Kernels, step: KernelLaunch, buffers: Mapping[int, torch.Tensor], scratch: torch.Tensor | None
    ) -> None:
        torch.mul(buffers[0][:-1], 2, out=buffers[1][:-1])

    for launch, equal in ((launched, True), (by_place, None), (unwritten, False)):
        monkeypatch.setattr(Kernels, "launch", launch)
        found = judge_on_gpu(replace(planned_job, load_candidate=load(OWN)))
        assert found["checks"][1]["poison_equal"] is equal


def test_a_plan_without_operators_leaves_nothing_to_ask(planned_job: GpuJob) -> None:
    assert {check.idle_equal for check in seen(planned_job, OWN).checks} == {None}


def test_what_torch_did_is_known_from_the_plan(planned_job: GpuJob) -> None:
    assert seen(planned_job, DECOY).checks[0].host_operators == {"aten::mul": COUNT}
    assert seen(planned_job, OWN).checks[0].host_operators == {}


Launching = Callable[[Kernels, KernelLaunch, Mapping[int, torch.Tensor], "torch.Tensor | None"], None]


def off_by(errors: itertools.chain[float]) -> Launching:
    """A kernel whose launches are off by ``errors``, one after the other."""

    def launch(
        self: Kernels, step: KernelLaunch, buffers: Mapping[int, torch.Tensor], scratch: torch.Tensor | None
    ) -> None:
        torch.mul(buffers[0], 2, out=buffers[1])
        buffers[1][3] += next(errors)

    return launch


def repetitions(planned_job: GpuJob, stage: str = "screening") -> Observation:
    """What is seen of the user's own kernel against itself."""
    found = judge_on_gpu(replace(planned_job, smallest="a", stage=stage))
    assert found["failure"] is None, found["failure"]
    return parse_observation({"kernels": [], "launches": [], "work": [], **found})


def test_calls_are_repeated_as_often_as_the_stage_says(planned_job: GpuJob) -> None:
    screened, confirmed = (repetitions(planned_job, stage) for stage in ("screening", "confirmation"))
    (series,) = [one for one in screened.checks if one.repeats]
    assert series.repeats == Repeats(SCREENING_REPEATS, 0, 0.0) and series.native_repeats is None
    (series,) = [one for one in confirmed.checks if one.repeats]
    assert series.repeats is not None and series.repeats.calls <= CONFIRMATION_REPEATS
    assert run_to_run(confirmed.checks).startswith("deterministic: ")


@pytest.mark.parametrize(("error", "is_right"), [(2.0**-20, True), (0.5, False)])
def test_the_call_that_is_farthest_off_is_held_against_the_truth(
    planned_job: GpuJob, monkeypatch: pytest.MonkeyPatch, error: float, is_right: bool
) -> None:
    """The checks before it see two right calls: only one of the repetitions is off."""
    errors = itertools.chain([0.0] * 2 + [0.0] * 7, [error], itertools.repeat(0.0))
    monkeypatch.setattr(Kernels, "launch", off_by(errors))
    monkeypatch.setattr("evolve_core.judge.host.gpu.conductor.VARIED", ())
    observed = repetitions(planned_job)
    judged = judge_checks(observed.checks)
    series = [one for one in observed.checks if one.repeats]
    assert len(series) == 2
    assert all(one.repeats and (one.repeats.calls, one.repeats.different) == (20, 1) for one in series)
    if is_right:
        assert judged == Accepted()
        assert run_to_run(observed.checks).startswith("bounded: other bits, within the tolerance, in 1 of ")
    else:
        assert isinstance(judged, Rejected) and "1 of 20 on the same inputs gave other bits" in judged.reason


def test_what_is_finite_on_one_side_alone_is_no_distance() -> None:
    inf = float("inf")
    results = iter([[1.0, inf], [1.0, inf], [1.5, inf], [inf, inf]])
    seen = repeated(lambda: [("out", torch.tensor(next(results)))], 2)
    assert (seen.calls, seen.different, seen.largest) == (2, 1, 0.5)
    results = iter([[1.0, inf], [inf, inf], [1.5, inf]])
    seen = repeated(lambda: [("out", torch.tensor(next(results)))], 2)
    assert (seen.different, seen.largest, seen.farthest[0][1].tolist()) == (2, None, [inf, inf])
