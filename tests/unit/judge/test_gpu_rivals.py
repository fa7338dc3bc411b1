"""What several sessions of one user note about their own processes beside the device's lock."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from evolve_core.judge.host.gpu.rivals import OwnProcesses


def test_a_session_that_ends_while_another_looks_is_no_longer_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = OwnProcesses("GPU-1", str(tmp_path))
    (tmp_path / f"GPU-1.{os.getpid()}.own").write_text("12 34")
    assert own.known() == {12, 34}
    exists = Path.exists

    def and_then_it_ends(path: Path, **options: Any) -> bool:
        found = exists(path, **options)
        if path.is_relative_to("/proc"):
            own.remove()
        return found

    monkeypatch.setattr(Path, "exists", and_then_it_ends)
    assert own.known() == frozenset()
