"""What is said of how a child ended."""

from __future__ import annotations

from pathlib import Path

import pytest

from evolve_core.judge.host.outcomes import failure_of
from evolve_core.judge.host.patience import Patience
from evolve_core.judge.host.pool import StepResult


@pytest.mark.parametrize(("code", "said"), [(-11, "crashed with SIGSEGV"), (-35, "crashed with signal 35")])
def test_a_crash_names_its_signal_or_gives_its_number(code: int, said: str) -> None:
    result = StepResult("finished", code, None, None, "", 0.0, Path("child"), Patience(1.0))
    assert failure_of(result)["message"] == said
