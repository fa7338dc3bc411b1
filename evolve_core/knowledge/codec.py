"""Insights as JSON and back. ``dict[str, Any]`` ends here: what comes out is typed, what is wrong is named."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from evolve_core.knowledge.model import Insight, Scope
from evolve_core.propose.proposal import Step


class BadInsight(ValueError):
    """A JSON object that does not describe an insight; the message names the field."""


def insight_to_json(insight: Insight) -> dict[str, Any]:
    return {
        "insight_id": insight.insight_id,
        "claim": insight.claim,
        "language": insight.scope.language,
        "features": list(insight.scope.features),
        "target": insight.scope.target,
        "device": insight.scope.device,
        "toolchain": insight.scope.toolchain,
        "recipe": recipe_to_json(insight.recipe),
        "ratio": insight.ratio,
        "ratio_low": insight.ratio_low,
        "ratio_high": insight.ratio_high,
        "estimated": insight.estimated,
        "kernel": insight.kernel,
        "before": insight.before,
        "after": insight.after,
        "evidence_sha256": insight.evidence_sha256,
        "created_at": insight.created_at.astimezone(UTC).isoformat(),
        "successes": insight.successes,
        "failures": insight.failures,
    }


def insight_from_json(record: object) -> Insight:
    """Errors: ``BadInsight``. The id is not trusted: it is computed again from the content."""
    fields = _object(record, "insight")
    scope = Scope(
        language=_text(fields, "language"),
        features=tuple(str(f) for f in _list(fields, "features")),
        target=_text(fields, "target"),
        device=_text(fields, "device"),
        toolchain=_text(fields, "toolchain"),
    )
    insight = Insight(
        insight_id="",
        claim=_text(fields, "claim"),
        scope=scope,
        recipe=recipe_from_json(fields.get("recipe")),
        ratio=_number(fields, "ratio"),
        ratio_low=_optional_number(fields, "ratio_low"),
        ratio_high=_optional_number(fields, "ratio_high"),
        estimated=_flag(fields, "estimated"),
        kernel=_text(fields, "kernel"),
        before=_text(fields, "before"),
        after=_text(fields, "after"),
        evidence_sha256=_text(fields, "evidence_sha256"),
        created_at=_time(fields, "created_at"),
        successes=_count(fields, "successes"),
        failures=_count(fields, "failures"),
    )
    return with_id(insight)


def with_id(insight: Insight) -> Insight:
    """The same insight under the id of its content: all of it but the id, the time and the counts."""
    content = insight_to_json(insight)
    for field in ("insight_id", "created_at", "successes", "failures"):
        del content[field]
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    digest = hashlib.sha256(canonical.encode("ascii")).hexdigest()
    return replace(insight, insight_id=digest[:32])


def recipe_to_json(recipe: Sequence[Step]) -> list[dict[str, Any]]:
    return [{"proposer": s.proposer, "rule": s.rule, "parameters": [list(p) for p in s.parameters]} for s in recipe]


def recipe_from_json(record: object) -> tuple[Step, ...]:
    if not isinstance(record, list):
        raise BadInsight("`recipe` must be a list of steps")
    return tuple(_step(entry) for entry in record)


def _step(record: object) -> Step:
    fields = _object(record, "recipe step")
    parameters = _list(fields, "parameters")
    if not all(isinstance(p, list) and len(p) == 2 for p in parameters):
        raise BadInsight("`parameters` of a recipe step must be a list of [name, value] pairs")
    return Step(_text(fields, "proposer"), _text(fields, "rule"), tuple((str(n), str(v)) for n, v in parameters))


def _object(record: object, what: str) -> dict[str, Any]:
    if not isinstance(record, dict):
        raise BadInsight(f"an {what} must be a JSON object, not {type(record).__name__}")
    return record


def _text(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str):
        raise BadInsight(f"`{name}` must be text")
    return value


def _list(fields: dict[str, Any], name: str) -> list[Any]:
    value = fields.get(name)
    if not isinstance(value, list):
        raise BadInsight(f"`{name}` must be a list")
    return value


def _number(fields: dict[str, Any], name: str) -> float:
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise BadInsight(f"`{name}` must be a positive number")
    return float(value)


def _optional_number(fields: dict[str, Any], name: str) -> float | None:
    return None if fields.get(name) is None else _number(fields, name)


def _count(fields: dict[str, Any], name: str) -> int:
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise BadInsight(f"`{name}` must be a whole number, 0 or more")
    return value


def _flag(fields: dict[str, Any], name: str) -> bool:
    value = fields.get(name)
    if not isinstance(value, bool):
        raise BadInsight(f"`{name}` must be true or false")
    return value


def _time(fields: dict[str, Any], name: str) -> datetime:
    try:
        moment = datetime.fromisoformat(_text(fields, name))
    except ValueError as error:
        raise BadInsight(f"`{name}` must be an ISO 8601 time: {error}") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
