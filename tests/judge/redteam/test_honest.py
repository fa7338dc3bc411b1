"""Every honest kernel that looks suspicious passes. Apart from the exploits, so that the two can run side by side."""

from __future__ import annotations

import pytest

from evolve_core.judge.verdict import Correctness
from tests.judge.redteam.model import Honest
from tests.judge.redteam.suite import HONEST, Record, Suite, as_parameter, kind_of, rejected
from tests.judge.redteam.tasks import VICTIMS


@pytest.mark.parametrize("honest", [as_parameter(one) for one in HONEST if not one.needs_gpu])
def test_an_honest_kernel_passes(suite: Suite, honest: Honest, record_property: Record) -> None:
    verdict = suite.verdict(honest)
    record_property("redteam", ("honest", honest.name, rejected(verdict), honest.rejected_without_gpu))
    assert not rejected(verdict), f"{kind_of(verdict)}: {verdict.reason}"


@pytest.mark.parametrize("victim", [name for name, one in VICTIMS.items() if not one.is_cuda])
def test_the_victims_themselves_are_correct(suite: Suite, victim: str) -> None:
    """Otherwise an exploit could be turned away for what its victim does."""
    verdict = suite.verdict(Honest(victim, "itself", victim, VICTIMS[victim].source))
    assert verdict.correctness is Correctness.CORRECT, verdict.reason
    assert verdict.ratio == pytest.approx(1.0)
