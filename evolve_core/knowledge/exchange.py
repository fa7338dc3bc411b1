"""Knowledge bases as text: JSON lines, one insight or outcome a line, in a fixed order, so that exports can be diffed.

Importing is a union. Insights are known by their content and outcomes by their own id: importing the same file twice,
or two files in either order, ends in the same knowledge base.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from evolve_core.knowledge.codec import BadInsight, insight_from_json, insight_to_json
from evolve_core.knowledge.errors import BadExchangeFile
from evolve_core.knowledge.model import Insight
from evolve_core.knowledge.store import KnowledgeStore, Outcome

FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True)
class Imported:
    """``new`` insights were not known before; ``read`` is how many the file held."""

    read: int
    new: int
    outcomes: int


def export_lines(store: KnowledgeStore) -> Iterator[str]:
    """The whole store, a JSON object a line without the newline."""
    yield _line({"kind": "kernel-evolve-knowledge", "version": FORMAT_VERSION})
    for insight in store.founding():
        yield _line({"kind": "insight", **insight_to_json(insight)})
    for outcome in sorted(store.outcomes(), key=lambda o: o.outcome_id):
        yield _line(
            {
                "kind": "outcome",
                "outcome_id": outcome.outcome_id,
                "insight_id": outcome.insight_id,
                "held": outcome.held,
                "at": outcome.at,
            }
        )


def import_lines(store: KnowledgeStore, lines: Iterable[str | bytes], name: str = "the import") -> Imported:
    """Add what ``export_lines`` wrote (bytes are UTF-8), all of it or nothing.

    Errors: ``BadExchangeFile``, ``KnowledgeUnavailable``.
    """
    insights: list[Insight] = []
    outcomes: list[Outcome] = []
    known = {insight.insight_id for insight in store.all()}
    number = 0
    for number, line in enumerate(lines, start=1):
        if line.strip():
            _read(line, name, number, insights, outcomes, known)
    if number == 0:
        raise BadExchangeFile(name, 1, "the file is empty")
    new = store.merge(insights, outcomes)
    return Imported(read=len(insights), new=new, outcomes=len(outcomes))


def _read(
    line: str | bytes, name: str, number: int, insights: list[Insight], outcomes: list[Outcome], known: set[str]
) -> None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadExchangeFile(name, number, f"this is not JSON ({error})") from None
    if not isinstance(record, dict):
        raise BadExchangeFile(name, number, "this is not a JSON object")
    match record.get("kind"):
        case "kernel-evolve-knowledge":
            if record.get("version") != FORMAT_VERSION:
                cause = f"this export has version {record.get('version')!r}, this kernel-evolve reads {FORMAT_VERSION}"
                raise BadExchangeFile(name, number, cause)
        case "insight":
            insight = _insight(record, name, number)
            insights.append(insight)
            known.add(insight.insight_id)
        case "outcome":
            outcomes.append(_outcome(record, name, number, known))
        case kind:
            raise BadExchangeFile(name, number, f"there is no kind {kind!r}")


def _insight(record: dict[str, Any], name: str, number: int) -> Insight:
    try:
        insight = insight_from_json(record)
    except BadInsight as error:
        raise BadExchangeFile(name, number, str(error)) from None
    if insight.insight_id != record.get("insight_id"):
        raise BadExchangeFile(name, number, "the insight's id is not the hash of its content: the line was changed")
    return insight


def _outcome(record: dict[str, Any], name: str, number: int, known: set[str]) -> Outcome:
    outcome_id, insight_id, held, at = (record.get(f) for f in ("outcome_id", "insight_id", "held", "at"))
    well_formed = isinstance(outcome_id, str) and re.fullmatch(r"[0-9a-f]{32}", outcome_id) and isinstance(at, str)
    if not (well_formed and isinstance(insight_id, str) and isinstance(held, bool)):
        raise BadExchangeFile(name, number, "an outcome needs `outcome_id`, `insight_id`, `held` and `at`")
    if insight_id not in known:
        raise BadExchangeFile(name, number, f"this outcome belongs to insight {insight_id}, which is not above it")
    return Outcome(str(outcome_id), insight_id, held, str(at)[:40])


def _line(record: dict[str, Any]) -> str:
    return json.dumps(record, sort_keys=True, ensure_ascii=False)
