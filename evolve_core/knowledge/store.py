"""Where insights are kept: one interface over any SQL database; SQLite by default, PostgreSQL for a team is a URL away.

A knowledge base is read by everybody at once and written rarely and briefly. SQLite therefore runs in WAL mode with a
busy timeout; no transaction stays open between calls.
"""

from __future__ import annotations

import os
import sqlite3
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, and_, create_engine, event, func, insert, inspect, or_, select
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, NoSuchModuleError

from evolve_core.knowledge import schema
from evolve_core.knowledge.codec import with_id
from evolve_core.knowledge.errors import (
    KnowledgeError,
    KnowledgeTooNew,
    KnowledgeUnavailable,
    MissingDriver,
    UnknownInsight,
)
from evolve_core.knowledge.model import Insight
from evolve_core.knowledge.rows import INSIGHTS, from_row, insight_id_column, to_row
from evolve_core.source.model import Language
from evolve_core.sqlite import use_wal

URL_VARIABLE = "KERNEL_EVOLVE_KNOWLEDGE"
BUSY_TIMEOUT_S = 10.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Outcome:
    """One time an insight was tried after it was founded, and whether it held."""

    outcome_id: str
    insight_id: str
    held: bool
    at: str


@dataclass(frozen=True, slots=True)
class KnowledgeStats:
    """Counts. ``held``/``failed`` are outcomes recorded since the insights were founded."""

    url: str
    insights: int
    measured: int
    estimated: int
    held: int
    failed: int
    by_target: tuple[tuple[str, int], ...]
    by_language: tuple[tuple[str, int], ...]


def default_url(environ: Mapping[str, str] = os.environ) -> str:
    """``KERNEL_EVOLVE_KNOWLEDGE``, else a SQLite file in the user's data folder."""
    if configured := environ.get(URL_VARIABLE):
        return configured
    data_home = environ.get("XDG_DATA_HOME") or "~/.local/share"
    path = Path(data_home).expanduser() / "kernel-evolve" / "knowledge.sqlite"
    return URL.create("sqlite", database=str(path)).render_as_string()


def open_store(url: str | None = None) -> KnowledgeStore:
    """Open the knowledge base and make its tables where there are none.

    A plain path is taken for a SQLite file. Errors: ``KnowledgeUnavailable``, ``KnowledgeTooNew``, ``MissingDriver``.
    """
    given = url or default_url()
    if "://" not in given:
        given = URL.create("sqlite", database=str(Path(given).expanduser())).render_as_string()
    try:
        parsed = make_url(given)
    except ArgumentError:
        # The text is not shown: whatever it is, it may hold a password.
        raise KnowledgeUnavailable("the configured URL", "it is not a database URL") from None
    shown = parsed.render_as_string(hide_password=True)
    try:
        _make_folder(parsed)
        engine = create_engine(parsed, connect_args=_connect_arguments(parsed))
    except ModuleNotFoundError as error:
        raise MissingDriver(shown, error.name or "for it") from None
    except NoSuchModuleError as error:
        raise KnowledgeUnavailable(shown, str(error)) from None
    except OSError as error:
        raise KnowledgeUnavailable(shown, error.strerror or str(error)) from None
    if parsed.get_backend_name() == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    store = KnowledgeStore(engine, shown)
    try:
        store.prepare()
    except KnowledgeError:
        store.close()
        raise
    return store


def _make_folder(url: URL) -> None:
    if url.get_backend_name() == "sqlite" and url.database and url.database != ":memory:":
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)


def _connect_arguments(url: URL) -> dict[str, Any]:
    backend = url.get_backend_name()
    if backend == "sqlite":
        return {"timeout": BUSY_TIMEOUT_S}
    return {"connect_timeout": int(BUSY_TIMEOUT_S)} if backend == "postgresql" else {}


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    # Python's driver begins transactions by itself, but not before DDL or a savepoint: `_begin_sqlite` does it instead.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={int(BUSY_TIMEOUT_S * 1000)}")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()
    use_wal(connection)


def _begin_sqlite(connection: Connection) -> None:
    """A writer takes its lock at once: one that starts as a reader cannot wait for another writer, it fails."""
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


class KnowledgeStore:
    """Insights and their outcomes in one database. Every method is a transaction of its own.

    Errors of every method: ``KnowledgeUnavailable`` when the database fails.
    """

    def __init__(self, engine: Engine, shown_url: str) -> None:
        self._engine = engine
        self.url = shown_url

    def close(self) -> None:
        self._engine.dispose()

    def __enter__(self) -> KnowledgeStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def prepare(self) -> None:
        """Make the tables where there are none; refuse a schema newer than ours."""
        found = self._read(_schema_version)
        if found is None:
            found = self._make_schema()
        if not found.isdigit() or int(found) > schema.SCHEMA_VERSION:
            raise KnowledgeTooNew(self.url, found, schema.SCHEMA_VERSION)

    def add(self, insight: Insight) -> str:
        """Keep an insight and return its id. Idempotent: the id is the hash of the content, the first copy stays."""
        identified = with_id(insight)
        self._write(lambda connection: _add(connection, identified))
        return identified.insight_id

    def record_outcome(self, insight_id: str, held: bool) -> None:
        """An insight was tried on some kernel and judged: it held, or it did not. Errors: ``UnknownInsight``."""
        at = datetime.now(UTC).isoformat(timespec="seconds")
        self.add_outcomes([Outcome(uuid.uuid4().hex, insight_id, held, at)])

    def add_outcomes(self, outcomes: Iterable[Outcome]) -> None:
        """Keep outcomes under the ids they have; those already known are left alone. Errors: ``UnknownInsight``."""
        rows = list(outcomes)
        self._write(lambda connection: _add_outcomes(connection, rows))

    def merge(self, insights: Sequence[Insight], outcomes: Sequence[Outcome]) -> int:
        """Add both in one transaction, all or nothing; returns how many insights were new."""

        def work(connection: Connection) -> int:
            new = sum(_add(connection, with_id(insight)) for insight in insights)
            _add_outcomes(connection, outcomes)
            return new

        return self._write(work)

    def get(self, insight_id: str) -> Insight | None:
        found = self._read(lambda c: c.execute(INSIGHTS.where(insight_id_column == insight_id)).fetchall())
        return from_row(found[0]) if found else None

    def all(self, language: Language | None = None) -> tuple[Insight, ...]:
        """Every insight, newest first, with the counts of today."""
        query = INSIGHTS.order_by(schema.insight.c.created_at.desc(), insight_id_column)
        if language is not None:
            query = query.where(schema.insight.c.language == language.value)
        return tuple(from_row(row) for row in self._read(lambda c: c.execute(query).fetchall()))

    def search(self, text: str, limit: int = 50) -> tuple[Insight, ...]:
        """Insights that hold every word of ``text`` (claim, kernel, features, target, device, recipe), newest first."""
        columns = [
            schema.insight.c[n] for n in ("claim", "kernel", "features", "target", "device", "recipe", "language")
        ]
        words = [
            or_(*(func.lower(column).contains(word, autoescape=True) for column in columns))
            for word in text.lower().split()
        ]
        query = (
            INSIGHTS.where(and_(True, *words))
            .order_by(schema.insight.c.created_at.desc(), insight_id_column)
            .limit(limit)
        )
        return tuple(from_row(row) for row in self._read(lambda c: c.execute(query).fetchall()))

    def outcomes(self) -> tuple[Outcome, ...]:
        """Every outcome, oldest first."""
        columns = schema.outcome.c
        query = select(columns.outcome_id, columns.insight_id, columns.held, columns.at)
        rows = self._read(lambda c: c.execute(query.order_by(columns.at, columns.outcome_id)).fetchall())
        return tuple(Outcome(row.outcome_id, row.insight_id, bool(row.held), row.at) for row in rows)

    def founding(self) -> tuple[Insight, ...]:
        """Every insight with the counts it was founded with, in the order of their ids: what an export holds."""
        query = INSIGHTS.order_by(insight_id_column)
        rows = self._read(lambda c: c.execute(query).fetchall())
        return tuple(
            replace(from_row(row), successes=row.founding_successes, failures=row.founding_failures) for row in rows
        )

    def stats(self) -> KnowledgeStats:
        insights, outcomes = self.all(), self.outcomes()
        measured = sum(not i.estimated for i in insights)
        held = sum(o.held for o in outcomes)
        return KnowledgeStats(
            url=self.url,
            insights=len(insights),
            measured=measured,
            estimated=len(insights) - measured,
            held=held,
            failed=len(outcomes) - held,
            by_target=tuple(Counter(i.scope.target for i in insights).most_common()),
            by_language=tuple(Counter(i.scope.language for i in insights).most_common()),
        )

    def _make_schema(self) -> str:
        try:
            return self._write(_make_tables)
        except KnowledgeUnavailable:
            # PostgreSQL lets two processes make the same tables at once, and one of them fails: then they are there.
            made_by_another = self._read(_schema_version)
            if made_by_another is None:
                raise
            return made_by_another

    def _read(self, work: Callable[[Connection], T]) -> T:
        return self._transact(work, writes=False)

    def _write(self, work: Callable[[Connection], T]) -> T:
        return self._transact(work, writes=True)

    def _transact(self, work: Callable[[Connection], T], writes: bool) -> T:
        try:
            with self._engine.execution_options(writes=writes).begin() as connection:
                return work(connection)
        except DBAPIError as error:
            raise KnowledgeUnavailable(self.url, _cause(error)) from error


def _cause(error: DBAPIError) -> str:
    """The driver's own sentence: SQLAlchemy's adds the statement and its parameters, which hold users' source."""
    said = " ".join(str(error.orig).split()).rstrip(".")
    return f"{said} (free some space on its disk, if that is full)" if "disk" in said else said


def _make_tables(connection: Connection) -> str:
    schema.metadata.create_all(connection)
    if not connection.execute(select(schema.meta).where(schema.meta.c.name == "schema")).fetchall():
        connection.execute(insert(schema.meta).values(name="schema", value=str(schema.SCHEMA_VERSION)))
    return _schema_version(connection) or ""


def _schema_version(connection: Connection) -> str | None:
    if not inspect(connection).has_table(schema.meta.name):
        return None
    query = select(schema.meta.c.value).where(schema.meta.c.name == "schema")
    return connection.execute(query).scalar_one_or_none()


def _add(connection: Connection, insight: Insight) -> bool:
    """True where it was new. A savepoint, because PostgreSQL gives up a whole transaction for one duplicate."""
    try:
        with connection.begin_nested():
            connection.execute(insert(schema.insight).values(to_row(insight)))
    except IntegrityError:
        return False
    return True


def _add_outcomes(connection: Connection, outcomes: Iterable[Outcome]) -> None:
    for outcome in outcomes:
        if not connection.execute(select(insight_id_column).where(insight_id_column == outcome.insight_id)).fetchall():
            raise UnknownInsight(outcome.insight_id)
        values = {"outcome_id": outcome.outcome_id, "insight_id": outcome.insight_id}
        try:
            with connection.begin_nested():
                connection.execute(insert(schema.outcome).values(**values, held=outcome.held, at=outcome.at))
        except IntegrityError:
            continue
