"""What the checking process keeps of a case: how long, for whom, within which memory, and what it need not do again."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

from evolve_core.judge.host.distributions import VARIED
from evolve_core.judge.host.errors import StepError
from evolve_core.judge.host.gpu import cases as cases_module
from evolve_core.judge.host.gpu import phases as phases_module
from evolve_core.judge.host.gpu.answers import Answers
from evolve_core.judge.host.gpu.cases import ANSWERS, CANDIDATES, DRAWS, Case, Cases
from evolve_core.judge.host.gpu.channel import Channel
from evolve_core.judge.host.gpu.job import GpuJob, Named
from evolve_core.judge.host.gpu.link import BenchLink
from evolve_core.judge.host.gpu.phases import Phase, Phases, completed, summed
from evolve_core.judge.host.gpu.slots import Slot


def double(inputs: dict[str, Any]) -> Named:
    return [("out", inputs["x"] * 2)]


def job(*, planned: bool) -> GpuJob:
    return GpuJob(
        device_uuid="GPU-test",
        lock_folder="",
        cache_folder="",
        spool="",
        stage="screening",
        deadline_s=1.0,
        checked=["a"],
        timed=["a"],
        draw=lambda workload, seed, device: {"x": torch.randn(64, generator=torch.Generator().manual_seed(seed))},
        truth=lambda inputs, names: [("out", inputs["x"].double() * 2)],
        load_baseline=lambda: double,
        load_candidate=None,
        load_plans=(lambda plans: double) if planned else None,
        device="cpu",
    )


@pytest.fixture
def link() -> Iterator[BenchLink]:
    near, far = socket.socketpair()
    yield BenchLink(Channel(near))
    near.close()
    far.close()


def cases_of(link: BenchLink, *, planned: bool) -> Cases:
    cases = Cases(job(planned=planned), link, Phases())
    cases.load()
    return cases


def test_host_code_never_sees_inputs_twice(link: BenchLink) -> None:
    cases = cases_of(link, planned=False)
    cases.next_candidate()
    seeds = [cases.drawn("a", number).seed for number in (0, 0, 1, 1)]
    varied = [cases.varied("a", VARIED[0]) for _ in range(2)]
    assert len(set(seeds)) == 4
    assert varied[0] is not None and varied[0] is not varied[1]


def test_plans_take_turns_over_a_few_inputs_until_others_are_drawn(link: BenchLink) -> None:
    cases = cases_of(link, planned=True)
    found = []
    for _ in range(CANDIDATES + 1):
        cases.next_candidate()
        found.append([cases.drawn("a", number) for number in range(2 * DRAWS)])
        assert link.seed == found[-1][-1].seed
    assert len({case.seed for case in found[0]}) == DRAWS
    assert found[0] == found[0][:DRAWS] * 2 == found[CANDIDATES - 1]
    assert not {case.seed for case in found[0]} & {case.seed for case in found[CANDIDATES]}


def test_inputs_are_kept_as_far_as_memory_is_set_aside_for_them(
    link: BenchLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = cases_of(link, planned=True).drawn("a").bytes_
    assert one > 64 * 4 * 2
    monkeypatch.setattr(cases_module, "_WITHOUT_DEVICE_BYTES", 2 * one)
    cases = cases_of(link, planned=True)
    assert len({cases.drawn("a", number).seed for number in range(8)}) == 2
    assert cases.varied("a", VARIED[0]) is not cases.varied("a", VARIED[0])
    monkeypatch.setattr(cases_module, "_WITHOUT_DEVICE_BYTES", one - 1)
    cases = cases_of(link, planned=True)
    assert len({cases.drawn("a", number).seed for number in range(8)}) == 8


def test_what_is_kept_does_not_change_with_the_next_call(link: BenchLink) -> None:
    """Where the user's kernel and reference() give the same memory each time."""
    own, right = torch.empty(64), torch.empty(64, dtype=torch.float64)

    def into_own(inputs: dict[str, Any]) -> Named:
        return [("out", own.copy_(inputs["x"] * 2))]

    def into_right(inputs: dict[str, Any], names: list[str] | None) -> Named:
        return [("out", right.copy_(inputs["x"].double() * 2))]

    cases = Cases(replace(job(planned=True), load_baseline=lambda: into_own, truth=into_right), link, Phases())
    cases.load()
    for case in [cases.drawn("a", number) for number in range(3)]:
        for (_, value), exact in ((case.native[0], case.inputs["x"] * 2), (case.truth[0], case.inputs["x"] * 2)):
            assert torch.equal(value.float(), exact)


def test_values_that_nobody_stands_are_looked_at_once(link: BenchLink) -> None:
    asked: list[int] = []

    def choosy(inputs: dict[str, Any], names: list[str] | None) -> Named:
        asked.append(1)
        raise StepError("task-error", "reference() wants other values")

    own = job(planned=True)
    cases = Cases(replace(own, truth=choosy), link, Phases())
    cases.load()
    assert cases.varied("a", VARIED[0]) is None
    assert cases.varied("a", VARIED[0]) is None
    assert len(asked) == 1
    with pytest.raises(StepError):
        cases.drawn("a")


class Counted:
    """Stands before an expectation and counts."""

    def __init__(self, case: Case) -> None:
        self._expectation, self.asked = case.expectation, 0

    def compare(self, candidate: Named, quantiles: bool) -> list[dict[str, Any]]:
        self.asked += 1
        return self._expectation.compare(candidate, quantiles)


def answer(tensor: torch.Tensor, *, type_ok: bool = True) -> dict[str, Any]:
    return {"outputs": [{"name": "out", "type_ok": type_ok, "aliases_input": False}]}


def test_the_same_bits_are_compared_once_and_any_other_bit_again(link: BenchLink) -> None:
    case = cases_of(link, planned=True).drawn("a")
    counted = Counted(case)
    case = replace(case, expectation=counted)
    answers = Answers(link, Slot(1 << 20), "cpu", Phases())
    right = case.inputs["x"] * 2
    wrong = right.clone()
    wrong[3] = torch.nextafter(wrong[3], torch.tensor(1e9))

    def compared(out: torch.Tensor, *, quantiles: bool = False, type_ok: bool = True) -> dict[str, Any]:
        check = answers.compared([("out", out)], answer(out, type_ok=type_ok), case, quantiles=quantiles)
        (row,) = check["outputs"]
        return dict(row)

    first = compared(right)
    assert compared(right.clone()) == first and first["exact"] and counted.asked == 1
    assert not compared(wrong)["exact"] and counted.asked == 2
    assert compared(right)["exact"] and not compared(wrong)["exact"] and counted.asked == 2
    # What is said beside the numbers is this answer's own.
    assert not compared(right, type_ok=False)["type_ok"] and compared(right)["type_ok"] and counted.asked == 2
    # The same values at other strides, as another type, or asked for more: not the same.
    assert not compared(torch.stack([right, right], dim=1)[:, 0])["stride_ok"] and counted.asked == 3
    assert not compared(right.view(torch.int32))["dtype_ok"] and counted.asked == 4
    compared(right, quantiles=True)
    assert counted.asked == 5
    for number in range(ANSWERS + 1):
        compared(right + number + 1)
    assert counted.asked == 6 + ANSWERS and len(case.checked) == ANSWERS


def test_a_phase_inside_another_stops_its_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(phases_module.time, "monotonic", lambda: now[0])
    phases = Phases()
    with phases.phase(Phase.DRAW):
        now[0] += 1.0
        with phases.phase(Phase.CHECK):
            now[0] += 10.0
        now[0] += 2.0
    now[0] += 100.0
    with pytest.raises(ValueError), phases.phase(Phase.TIME):
        now[0] += 5.0
        raise ValueError
    assert phases.seconds() == {"draw": 3.0, "truth": 0.0, "check": 10.0, "time": 5.0, "wait": 0.0}
    assert sum(completed(phases.seconds(), 118.0).values()) == 118.0
    assert completed(phases.seconds(), 118.0)["wait"] == 100.0
    assert summed(phases.seconds(), phases.seconds())["check"] == 20.0
    phases.begin()
    assert sum(phases.seconds().values()) == 0.0
