"""Inputs of the timed sizes lie on the disk as long as values are computed from them, and no longer."""

from __future__ import annotations

from pathlib import Path

from evolve_core.judge.host.opened import Draw, OwnAudit, OwnValues
from evolve_core.judge.host.timedvalues import forget_unused


def test_only_inputs_that_values_are_computed_from_stay(tmp_path: Path) -> None:
    drawn = {}
    for name in ("used", "unfollowed", "unread"):
        (tmp_path / name).write_bytes(b"inputs")
        drawn[name] = OwnValues(Draw(1, {"file": str(tmp_path / name)}))
    drawn["undrawn"] = OwnValues(why_not="its inputs have 600 MiB")
    audits = {
        "used": OwnAudit(values=drawn["used"]),
        "unfollowed": OwnAudit(why_not="its addresses depend on values"),
        "unread": OwnAudit(values=OwnValues(drawn["unread"].drawn, why_not="reference() took too long")),
        "undrawn": OwnAudit(values=drawn["undrawn"]),
    }
    forget_unused(drawn, audits)
    assert [file.name for file in tmp_path.iterdir()] == ["used"]
