"""A verdict says what its times were held against, and the record of it leads to the same verdict again."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_launched import LAUNCH, opened, right, seen, timed

from evolve_core.judge.client import OpenedTask
from evolve_core.judge.compose import compose
from evolve_core.judge.evidence import BadEvidence, evidence, read_evidence, unsupported
from evolve_core.judge.observation import Observation, parse_observation
from evolve_core.judge.teeth import Teeth
from evolve_core.judge.verdict import Failure, Speed, Stage, Verdict
from evolve_core.judge.yardstick import NOTHING_KNOWN, Yardstick

KNOWN = Yardstick(delta=0.01, gbps=4000.0, tflops={"fp16": 800.0}, launch_us=2.0, origin="calibrated")


def verdict(task: OpenedTask, observed: Observation, yardstick: Yardstick) -> Verdict:
    return compose(task, observed, target="sm_90", stage=Stage.CONFIRMATION, yardstick=yardstick)


def candidate() -> Observation:
    """Twice as fast, 50 µs."""
    return seen(traced=True, launches=(LAUNCH,), timing=timed())


def with_work(**least: Any) -> OpenedTask:
    (first, *_) = timed()
    against_itself = replace(first, candidate_ns=first.baseline_ns, **least)
    return opened(traced=True, launches=(LAUNCH,), timing=(against_itself,))


def test_the_calibrated_delta_decides_what_is_faster() -> None:
    assert verdict(with_work(), candidate(), KNOWN).speed is Speed.FASTER
    assert verdict(with_work(), candidate(), replace(KNOWN, delta=1.5)).speed is Speed.SAME
    assert verdict(with_work(), candidate(), NOTHING_KNOWN).speed is Speed.FASTER


@pytest.mark.parametrize("least", [{"least_dram_bytes": 280_000_000}, {"least_flops": {"fp16": 56e9}}])
def test_what_no_kernel_can_do_is_impossible(least: dict[str, Any]) -> None:
    """70 µs of work in 50 µs; the user's own kernel takes 100 µs."""
    found = verdict(with_work(**least), candidate(), KNOWN)
    assert (found.failure, found.speed) == (Failure.IMPOSSIBLE, Speed.UNMEASURED)
    assert "70.0 µs" in found.reason
    assert verdict(with_work(**least), candidate(), NOTHING_KNOWN).speed is Speed.FASTER


def test_the_verdict_names_what_its_times_were_held_against() -> None:
    assert dict(verdict(with_work(), candidate(), KNOWN).environment)["held against"] == "calibrated"
    assert "held against" not in dict(verdict(with_work(), candidate(), NOTHING_KNOWN).environment)


def test_the_record_leads_to_the_same_verdict(tmp_path: Path) -> None:
    file = tmp_path / "evidence.json"
    task, observed = (sent(with_work().baseline), sent(candidate()))
    whole = replace(with_work(), baseline=task)
    slow = replace(KNOWN, gbps=4.0, origin="a device of long ago")
    for yardstick, failure in ((KNOWN, None), (slow, Failure.IMPOSSIBLE)):
        found = verdict(whole, observed, yardstick)
        assert found.failure is failure
        file.write_text(json.dumps(evidence(whole, observed, found, "c1", "", "sm_90", 1, Teeth(), yardstick)))
        record = read_evidence(file)
        assert record.yardstick == yardstick
        assert unsupported(record) == ""
    data = json.loads(file.read_text())
    file.write_text(json.dumps({**data, "yardstick": {}}))
    with pytest.raises(BadEvidence, match="damaged"):
        read_evidence(file)


def test_what_was_seen_on_a_warm_cache_is_in_the_record_and_recomputed_from_it(tmp_path: Path) -> None:
    file = tmp_path / "evidence.json"
    warm = [{"baseline_warm_ns": (80e3,) * 15, "candidate_warm_ns": (40e3 + step,) * 15} for step in range(5)]
    rows = [replace(one, **more) for one, more in zip(timed(), warm, strict=True)]
    task, observed = replace(with_work(), baseline=sent(with_work().baseline)), sent(replace(candidate(), timing=rows))
    found = verdict(task, observed, KNOWN)
    (row, *_) = found.workloads
    assert row.warm_ratio == pytest.approx(2.0, rel=1e-3) and row.warm_interval is not None
    data = evidence(task, observed, found, "c1", "", "sm_90", 1, Teeth(), KNOWN)
    assert data["judged"]["observation"]["timing"][4]["candidate_warm_ns"] == [40004.0] * 15

    def problem_of(record: dict[str, Any]) -> str:
        file.write_text(json.dumps(record))
        return unsupported(read_evidence(file))

    assert problem_of(data) == ""
    data["verdict"]["workloads"][0]["warm_ratio"] = 2.5
    assert "a warm L2 cache" in problem_of(data)


def test_a_record_from_before_there_were_warm_pairs_is_still_one(tmp_path: Path) -> None:
    file = tmp_path / "evidence.json"
    task, observed = replace(with_work(), baseline=sent(with_work().baseline)), sent(candidate())
    data = evidence(task, observed, verdict(task, observed, KNOWN), "c1", "", "sm_90", 1, Teeth(), KNOWN)
    data = json.loads(json.dumps(data))
    for row in (*data["judged"]["observation"]["timing"], *data["verdict"]["workloads"]):
        for name in [name for name in row if "warm" in name]:
            del row[name]
    file.write_text(json.dumps(data))
    assert unsupported(read_evidence(file)) == ""


def sent(observed: Observation) -> Observation:
    """The same as the host would send it: evidence keeps the raw answer."""
    (check,) = [right()]
    output = {name: getattr(check.outputs[0], name) for name in check.outputs[0].__slots__}
    row = {name: getattr(check, name) for name in ("workload", "seed", "poison", "message")}
    launch = {name: getattr(LAUNCH, name) for name in LAUNCH.__slots__}
    raw = {
        "failure": None,
        "kernels": [],
        "launches": [launch],
        "work": [],
        "checks": [{**row, "outcome": "compared", "inputs_changed": [], "outputs": [output]}],
        "timing": [{name: getattr(one, name) for name in one.__slots__} for one in observed.timing],
        "environment": {},
        "traced": True,
    }
    for one in raw["timing"]:
        one["least"] = {"dram_bytes": 280_000, "flops": {}}
    return parse_observation(json.loads(json.dumps(raw)))
