"""The tables of the knowledge base, in SQL that SQLite and PostgreSQL both speak.

``insight`` rows never change once written. What has been seen of them since is a row each in ``outcome``, under
an id of its own: the counts of two knowledge bases then merge by union, and importing the same export twice counts
nothing twice.
"""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Float, ForeignKey, Index, Integer, MetaData, String, Table, Text

SCHEMA_VERSION = 1

metadata = MetaData()

meta = Table(
    "knowledge_meta",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)

insight = Table(
    "insight",
    metadata,
    Column("insight_id", String(64), primary_key=True),
    Column("claim", Text, nullable=False),
    Column("language", String(32), nullable=False),
    Column("features", Text, nullable=False),  # JSON list
    Column("target", String(64), nullable=False),
    Column("device", Text, nullable=False),
    Column("toolchain", Text, nullable=False),
    Column("recipe", Text, nullable=False),  # JSON list of steps
    Column("ratio", Float, nullable=False),
    Column("ratio_low", Float),
    Column("ratio_high", Float),
    Column("estimated", Boolean, nullable=False),
    Column("kernel", Text, nullable=False),
    Column("before_source", Text, nullable=False),
    Column("after_source", Text, nullable=False),
    Column("evidence_sha256", String(64), nullable=False),
    Column("created_at", String(40), nullable=False),  # ISO 8601, UTC: SQLite would drop a time zone
    Column("founding_successes", Integer, nullable=False),
    Column("founding_failures", Integer, nullable=False),
    Index("insight_by_language", "language"),
)

outcome = Table(
    "outcome",
    metadata,
    Column("outcome_id", String(32), primary_key=True),
    Column("insight_id", String(64), ForeignKey("insight.insight_id", ondelete="CASCADE"), nullable=False),
    Column("held", Boolean, nullable=False),
    Column("at", String(40), nullable=False),
    Index("outcome_by_insight", "insight_id"),
)
