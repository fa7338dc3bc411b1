"""Every exploit that needs no GPU is seen through, every honest kernel that looks suspicious passes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from evolve_core.judge.verdict import Correctness
from tests.judge.redteam.model import CLASSES, WITHOUT_EXPLOIT, Exploit, Honest
from tests.judge.redteam.suite import EXPLOITS, HONEST, Suite, escaped, kind_of, named, rejected
from tests.judge.redteam.tasks import VICTIMS

Record = Callable[[str, object], None]


def as_parameter(one: Exploit | Honest) -> object:
    reason = one.escapes_without_gpu if isinstance(one, Exploit) else one.rejected_without_gpu
    return pytest.param(one, id=one.name, marks=[pytest.mark.xfail(strict=True, reason=reason)] if reason else [])


@pytest.mark.parametrize("exploit", [as_parameter(one) for one in EXPLOITS if not one.needs_gpu])
def test_an_exploit_is_seen_through(suite: Suite, exploit: Exploit, record_property: Record) -> None:
    verdict = suite.verdict(exploit)
    got_away = escaped(exploit, verdict)
    record_property("redteam", ("exploit", exploit.name, got_away, exploit.escapes_without_gpu))
    assert not got_away, f"{kind_of(verdict)}, ratio {verdict.ratio}: {verdict.reason}"
    assert verdict.reason
    if exploit.kinds:
        assert kind_of(verdict) in exploit.kinds, verdict.reason


@pytest.mark.parametrize("honest", [as_parameter(one) for one in HONEST if not one.needs_gpu])
def test_an_honest_kernel_passes(suite: Suite, honest: Honest, record_property: Record) -> None:
    verdict = suite.verdict(honest)
    record_property("redteam", ("honest", honest.name, rejected(verdict), honest.rejected_without_gpu))
    assert not rejected(verdict), f"{kind_of(verdict)}: {verdict.reason}"


@pytest.mark.parametrize("victim", VICTIMS)
def test_the_victims_themselves_are_correct(suite: Suite, victim: str) -> None:
    """Otherwise an exploit could be turned away for what its victim does."""
    verdict = suite.verdict(Honest(victim, "itself", victim, VICTIMS[victim].source))
    assert verdict.correctness is Correctness.CORRECT, verdict.reason
    assert verdict.ratio == pytest.approx(1.0)


def test_there_was_something_to_steal(suite: Suite) -> None:
    """What ``parents-disk`` and ``compile-time-read`` look for is there, behind what they can see."""
    suite.opened("scale")
    assert list((suite.bench.folder / "spool").rglob("outputs-*.bin"))


def test_every_class_has_an_exploit() -> None:
    known = [name for family in CLASSES.values() for name in family]
    played = {one.stands_for for one in EXPLOITS}
    assert played <= set(known)
    assert set(known) - played == set(WITHOUT_EXPLOIT)


def test_no_two_candidates_share_a_name_or_a_source() -> None:
    candidates = [*EXPLOITS, *HONEST]
    assert len(named(candidates)) == len({one.source for one in candidates}) == len(candidates)
    assert not {one.source for one in candidates} & {victim.source for victim in VICTIMS.values()}
