"""Every exploit that needs no GPU is seen through."""

from __future__ import annotations

import pytest

from tests.judge.redteam.model import CLASSES, WITHOUT_EXPLOIT, Exploit
from tests.judge.redteam.suite import EXPLOITS, HONEST, Record, Suite, as_parameter, escaped, kind_of, named
from tests.judge.redteam.tasks import VICTIMS


@pytest.mark.parametrize("exploit", [as_parameter(one) for one in EXPLOITS if not one.needs_gpu])
def test_an_exploit_is_seen_through(suite: Suite, exploit: Exploit, record_property: Record) -> None:
    verdict = suite.verdict(exploit)
    got_away = escaped(exploit, verdict)
    record_property("redteam", ("exploit", exploit.name, got_away, exploit.escapes_without_gpu))
    assert not got_away, f"{kind_of(verdict)}, ratio {verdict.ratio}: {verdict.reason}"
    assert verdict.reason
    if exploit.kinds:
        assert kind_of(verdict) in exploit.kinds, verdict.reason


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
