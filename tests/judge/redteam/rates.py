"""Prints the two figures that the red team is kept for, at the end of a pytest run that included it."""

from __future__ import annotations

from typing import Any


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """The tests record what came of each candidate, so that one that fails on a word of the reason is no escape."""
    reports = [report for found in terminalreporter.stats.values() for report in found]
    calls = [report for report in reports if getattr(report, "when", "") == "call"]
    seen = [value for report in calls for key, value in report.user_properties if key == "redteam"]
    if not seen:
        return
    counts = {side: sum(one[0] == side for one in seen) for side in ("exploit", "honest")}
    fooled = {side: [one for one in seen if one[0] == side and one[2]] for side in counts}
    terminalreporter.write_line(
        f"red team: {len(fooled['exploit'])} of {counts['exploit']} exploits escaped, "
        f"{len(fooled['honest'])} of {counts['honest']} honest kernels rejected"
    )
    for _, name, _, known in (*fooled["exploit"], *fooled["honest"]):
        terminalreporter.write_line(f"  {name}" + (f" (known: {known})" if known else ""))
