"""The study of the judge's timing: which trials are due, what they come to, and how a study goes on."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.timing import __main__ as command
from benchmarks.timing import kernel
from benchmarks.timing.study import (
    OtherStudy,
    Study,
    Trial,
    due,
    figures,
    load,
    save,
    steps_shares,
    trial_of,
    truth,
    words,
)
from evolve_core.judge.verdict import Correctness, Failure, Interval, Speed, Stage, Trust, Verdict


def trial(slow: float, said: str, ratio: float, half: float = 0.003, sitting: int = 1) -> Trial:
    return Trial(slow, said, ratio, ratio - half, ratio + half, 8.0, "", sitting)


TWICE = [trial(100, "slower", 1 / 1.96)] * 3
"""The steps are 96 % of the time."""


def test_the_steps_share_comes_first_and_then_every_slowdown_in_turn() -> None:
    assert list(due([], [0, 2], 5)) == [100, 100, 100, 0, 2, 0, 2, 0]
    assert list(due([*TWICE, trial(0, "same", 1.0)], [0, 2], 5)) == [100, 100, 100, 2, 0, 2, 0]
    assert list(due([*TWICE, *[trial(0, "same", 1.0)] * 3, *[trial(2, "slower", 0.98)] * 2], [0, 2], 5)) == []


def test_a_slowdown_is_known_by_its_work_alone() -> None:
    steps = [int(re.findall(r"STEPS = (\d+)", kernel.source(slow, 0))[0]) for slow in (0, 1, 2, 5, 100)]
    assert steps == [32_000, 32_320, 32_640, 33_600, 64_000]
    assert all(count % 16 == 0 for count in steps)
    plain = {re.sub(r"STEPS = \d+", "", kernel.source(slow, 0)) for slow in (0, 5)}
    assert len(plain) == 1
    with pytest.raises(ValueError, match=r"0\.05 %"):
        kernel.source(0.013, 0)


def test_the_truth_leaves_out_what_more_steps_do_not_change() -> None:
    assert steps_shares(TWICE) == {1: pytest.approx(0.96)}
    assert truth(5, 0.96) == pytest.approx(1 / 1.048)
    assert truth(0, 0.96) == 1.0
    assert steps_shares([trial(0, "same", 1.0)]) == {}


def test_a_slowdown_is_held_against_what_it_costs_in_its_own_sitting() -> None:
    other = trial(100, "slower", 1 / 1.9, sitting=2)
    ratios = [(1 / 1.048, 1), (1 / 1.045, 2), (1 / 1.048, 2), (0.5, 3)]
    rows = [trial(5, "slower", ratio, half=0.001, sitting=sitting) for ratio, sitting in ratios]
    found = figures([*TWICE, other, *rows])["by_slow"]["5"]
    # The third belongs to the other sitting, and what the fourth had to be nobody knows.
    assert (found["trials"], found["truth_known"], found["covered"]) == (4, 3, pytest.approx(2 / 3))
    assert figures([trial(0, "same", 1.0)])["by_slow"]["0"]["covered"] == 1.0


def test_figures_count_words_widths_and_coverage() -> None:
    rows = [*TWICE, *[trial(0, "same", 1.0)] * 3, trial(0, "faster", 1.01), trial(5, "slower", 0.954, half=0.001)]
    found = figures(rows)["by_slow"]
    assert set(found) == {"0", "5"}
    null, slowed = found["0"], found["5"]
    assert (null["faster"], null["slower"], null["trials"]) == (0.25, 0.0, 4)
    assert null["half_width"]["median"] == pytest.approx(0.003)
    # 1.01 ± 0.003 does not hold 1.
    assert null["covered"] == 0.75
    assert slowed["slower"] == 1.0 and slowed["covered"] == 1.0
    told = "\n".join(words(figures(rows)))
    assert "A/A: 4 trials: faster 1, same 3; called faster 25.0 %, slower 0.0 %" in told
    assert "sitting 1: the steps are 96.0 % of the kernel's time" in told
    assert "the truth is held by 75 % of 4 intervals; ratios are +0.250 % off it on average" in told


def test_a_trial_without_an_interval_counts_as_what_it_was() -> None:
    unstable = Verdict(
        Correctness.CORRECT, Speed.UNMEASURED, Trust.KERNEL_ONLY, Stage.CONFIRMATION, "", failure=Failure.UNSTABLE
    )
    wrong = Verdict(Correctness.WRONG, Speed.UNMEASURED, Trust.KERNEL_ONLY, Stage.CONFIRMATION, "")
    made = [trial_of(0, unstable, 1.0, 1), trial_of(0, wrong, 1.0, 1)]
    assert [one.said for one in made] == ["unstable", "wrong"]
    found = figures(made)["by_slow"]["0"]
    assert found["half_width"] == {"median": None, "largest": None} and found["covered"] is None


def test_a_study_goes_on_where_it_stopped(tmp_path: Path) -> None:
    file = tmp_path / "trials.json"
    assert load(file) is None
    study = Study({"device": "a"}, tuple(TWICE))
    save(file, study, figures(study.trials))
    assert load(file) == study
    assert [path.name for path in tmp_path.iterdir()] == ["trials.json"]
    file.write_text(json.dumps({"kernels": {}}))
    with pytest.raises(OtherStudy, match="name another file"):
        load(file)


class FakeJudge:
    """Calls nothing faster than itself."""

    environment = (("device", "NVIDIA X"), ("clocks", "sm_mhz 1980"))
    held_against = "calibrated"

    def __init__(self) -> None:
        self.sources: list[str] = []

    def submit(self, candidate_id: str, source: str, stage: Stage) -> FakeJudge:
        assert stage is Stage.CONFIRMATION
        self.sources.append(source)
        return self

    def result(self, timeout: float) -> FakeJudge:
        return self

    @property
    def verdict(self) -> Verdict:
        return Verdict(
            Correctness.CORRECT,
            Speed.SAME,
            Trust.KERNEL_ONLY,
            Stage.CONFIRMATION,
            "",
            None,
            1.0,
            1.0,
            Interval(0.99, 1.01),
        )

    def close(self) -> None: ...


def test_the_command_continues_its_file_and_refuses_another_machines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = FakeJudge()
    monkeypatch.setattr(command, "list_devices", lambda: [{"name": "NVIDIA X"}])
    monkeypatch.setattr(command, "_judge", lambda folder: judge)
    file = str(tmp_path / "trials.json")
    first = CliRunner().invoke(command.main, ["--trials", "2", "--slow", "0,5", "--json", file])
    assert first.exit_code == 0 and "still due" not in first.output
    assert len(judge.sources) == len(set(judge.sources)) == 5
    CliRunner().invoke(command.main, ["--trials", "3", "--slow", "0,5", "--json", file])
    assert len(judge.sources) == 9
    made = load(tmp_path / "trials.json")
    assert made is not None and [one.sitting for one in made.trials] == [1] * 5 + [2] * 4
    out_of_time = CliRunner().invoke(command.main, ["--trials", "9", "--slow", "0,5", "--seconds", "0", "--json", file])
    assert len(judge.sources) == 9 and "6 trials are still due" in out_of_time.output
    monkeypatch.setattr(FakeJudge, "environment", (("device", "NVIDIA Y"),))
    with pytest.MonkeyPatch.context() as recalibrated:
        recalibrated.setattr(FakeJudge, "environment", (("device", "NVIDIA X"),))
        recalibrated.setattr(FakeJudge, "held_against", "calibrated again")
        again = CliRunner().invoke(command.main, ["--trials", "9", "--slow", "0,5", "--json", file])
        assert isinstance(again.exception, OtherStudy)
    other = CliRunner().invoke(command.main, ["--trials", "9", "--slow", "0,5", "--json", file])
    assert isinstance(other.exception, OtherStudy)


@pytest.mark.parametrize("slow", ["0,100", "0,0.013"])
def test_slowdowns_that_cannot_be_are_refused(slow: str) -> None:
    done = CliRunner().invoke(command.main, ["--slow", slow])
    assert done.exit_code == 2 and "--slow" in done.output
