"""What was found about a task's tolerance, as JSON: for the evidence, and kept so that a task is looked at once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from evolve_core.judge.correctness import Accepted, judge_check
from evolve_core.judge.observation import Check
from evolve_core.judge.teeth import State, Teeth, Tooth, check_on, parse_outputs

_DECIDING = (
    *("correctness.py", "teeth.py", "host/compare.py", "host/deviations.py", "host/distributions.py"),
    *(
        "host/conditioning.py",
        "host/mutants.py",
        "host/oracle.py",
        "host/precision.py",
        "host/probing.py",
        "host/quantiles.py",
        "host/small_constants.py",
        "host/teeth.py",
        "host/truths.py",
        "host/variations.py",
    ),
)
"""The rule and what it is tried on: where one changes, everything is looked at again."""


def as_record(teeth: Teeth) -> dict[str, Any]:
    """JSON-able. Of the figures, those that decided."""
    return {
        "mutants": [{**_said(tooth), "check": _figures(tooth.check)} for tooth in teeth.teeth],
        "exact": sorted(teeth.exact),
        "ignored": list(teeth.ignored),
        "doubted": teeth.doubted,
        "stand_in": teeth.stand_in,
        "why_not": teeth.why_not,
    }


def from_record(data: Mapping[str, Any]) -> Teeth:
    """Raises KeyError, TypeError or ValueError where it is no such record."""
    return Teeth(
        teeth=tuple(_tooth(one) for one in data["mutants"]),
        exact=frozenset(str(name) for name in data["exact"]),
        ignored=tuple(str(name) for name in data["ignored"]),
        doubted=str(data["doubted"]),
        stand_in=bool(data["stand_in"]),
        why_not=str(data["why_not"]),
    )


def contradiction(teeth: Teeth) -> str:
    """The mutant that is said to be caught although the rule takes its figures, in a sentence; "" where none is."""
    for tooth in teeth.teeth:
        if tooth.state is not State.CAUGHT:
            continue
        if tooth.check is None or isinstance(judge_check(tooth.check, teeth.exact), Accepted):
            return f"the mutant {tooth.mutant!r} was not caught by the figures that it gives"
    return ""


def _said(tooth: Tooth) -> dict[str, str]:
    return {"mutant": tooth.mutant, "output": tooth.output, "state": str(tooth.state), "reason": tooth.reason}


def _figures(check: Check | None) -> dict[str, Any] | None:
    if check is None:
        return None
    where = {"id": check.workload, "label": check.label, "seed": check.seed, "recipe": dict(check.recipe)}
    return {**where, "outputs": [asdict(output) for output in check.outputs]}


def _tooth(data: Mapping[str, Any]) -> Tooth:
    found = data["check"]
    check = None if found is None else check_on(found, parse_outputs(found["outputs"]))
    return Tooth(str(data["mutant"]), str(data["output"]), State(data["state"]), str(data["reason"]), check)


# -- kept in the workspace --------------------------------------------------------------------------------------------


def key_of(parts: Iterable[str]) -> str:
    """A name for what is kept: it changes with ``parts`` (task, source, toolchain) and with the rule itself."""
    here = Path(__file__).parent
    digest = hashlib.sha256()
    for text in (*parts, *((here / name).read_text(encoding="utf-8") for name in _DECIDING)):
        digest.update(f"{len(text)}:{text}".encode())
    return digest.hexdigest()


def kept(folder: Path, key: str) -> Teeth | None:
    """What was found before; None where nothing was, or the file is damaged."""
    try:
        return from_record(json.loads((folder / f"{key}.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def keep(folder: Path, key: str, teeth: Teeth) -> None:
    """Keep it for the next time. A task that was refused, or not looked at in full, is looked at again."""
    if teeth.missed or teeth.why_not:
        return
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"{key}.part"
    part.write_text(json.dumps(as_record(teeth)), encoding="utf-8")
    part.replace(folder / f"{key}.json")
