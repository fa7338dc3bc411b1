"""The query for insights with their counts, and insights as rows and back."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, case, func, select

from evolve_core.knowledge import schema
from evolve_core.knowledge.codec import recipe_from_json, recipe_to_json
from evolve_core.knowledge.model import Insight, Scope

insight_id_column = schema.insight.c.insight_id
_HELD = func.coalesce(func.sum(case((schema.outcome.c.held.is_(True), 1), else_=0)), 0)
_FAILED = func.coalesce(func.sum(case((schema.outcome.c.held.is_(False), 1), else_=0)), 0)
_COUNTS = (
    select(schema.outcome.c.insight_id, _HELD.label("held"), _FAILED.label("failed"))
    .group_by(schema.outcome.c.insight_id)
    .subquery()
)
INSIGHTS = select(
    schema.insight,
    func.coalesce(_COUNTS.c.held, 0).label("held"),
    func.coalesce(_COUNTS.c.failed, 0).label("failed"),
).select_from(schema.insight.outerjoin(_COUNTS, _COUNTS.c.insight_id == schema.insight.c.insight_id))


def to_row(insight: Insight) -> dict[str, Any]:
    return {
        "insight_id": insight.insight_id,
        "claim": insight.claim,
        "language": insight.scope.language,
        "features": json.dumps(list(insight.scope.features)),
        "target": insight.scope.target,
        "device": insight.scope.device,
        "toolchain": insight.scope.toolchain,
        "recipe": json.dumps(recipe_to_json(insight.recipe)),
        "ratio": insight.ratio,
        "ratio_low": insight.ratio_low,
        "ratio_high": insight.ratio_high,
        "estimated": insight.estimated,
        "kernel": insight.kernel,
        "before_source": insight.before,
        "after_source": insight.after,
        "evidence_sha256": insight.evidence_sha256,
        "created_at": insight.created_at.astimezone(UTC).isoformat(),
        "founding_successes": insight.successes,
        "founding_failures": insight.failures,
    }


def from_row(row: Row[Any]) -> Insight:
    return Insight(
        insight_id=row.insight_id,
        claim=row.claim,
        scope=Scope(row.language, tuple(json.loads(row.features)), row.target, row.device, row.toolchain),
        recipe=recipe_from_json(json.loads(row.recipe)),
        ratio=row.ratio,
        ratio_low=row.ratio_low,
        ratio_high=row.ratio_high,
        estimated=bool(row.estimated),
        kernel=row.kernel,
        before=row.before_source,
        after=row.after_source,
        evidence_sha256=row.evidence_sha256,
        created_at=datetime.fromisoformat(row.created_at),
        successes=row.founding_successes + int(row.held),
        failures=row.founding_failures + int(row.failed),
    )
