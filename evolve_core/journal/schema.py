"""The journal's tables, and how a connection is opened.

One SQLite file per workspace in WAL mode: any number of readers (servers), one writer per run. With
``synchronous=NORMAL`` a commit survives the death of every process of ours; only a power cut can lose the last ones.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from evolve_core import __version__
from evolve_core.errors import JournalError, JournalFull, JournalTooNew
from evolve_core.files import shortage
from evolve_core.sqlite import use_wal

VERSION = 1
BUSY_TIMEOUT_MS = 5_000

_TABLES = """
CREATE TABLE run (
  run_id TEXT PRIMARY KEY,
  spec TEXT NOT NULL,
  state TEXT NOT NULL,
  reason TEXT NOT NULL,
  created_at REAL NOT NULL,
  updated_at REAL NOT NULL,
  ended_at REAL,
  pid INTEGER NOT NULL,
  control TEXT NOT NULL DEFAULT '',
  proposed INTEGER NOT NULL DEFAULT 0,
  judged INTEGER NOT NULL DEFAULT 0,
  correct INTEGER NOT NULL DEFAULT 0,
  best TEXT NOT NULL DEFAULT '',
  best_ratio REAL,
  best_estimated INTEGER NOT NULL DEFAULT 0,
  spent_s REAL NOT NULL DEFAULT 0,
  spent_dollars REAL NOT NULL DEFAULT 0,
  environment TEXT NOT NULL DEFAULT '[]'
) STRICT;
CREATE TABLE candidate (
  candidate_id TEXT PRIMARY KEY,
  run_id TEXT NOT NULL REFERENCES run(run_id),
  ordinal INTEGER NOT NULL,
  parents TEXT NOT NULL,
  summary TEXT NOT NULL,
  recipe TEXT NOT NULL,
  source TEXT NOT NULL,
  created_at REAL NOT NULL,
  verdict TEXT,
  judged_at REAL,
  UNIQUE (run_id, ordinal)
) STRICT;
CREATE TABLE evidence (
  candidate_id TEXT NOT NULL REFERENCES candidate(candidate_id),
  stage TEXT NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY (candidate_id, stage)
) STRICT;
CREATE INDEX candidate_by_run ON candidate (run_id, ordinal);
"""


def journal_file(workspace: Path) -> Path:
    return workspace / ".kernel-evolve" / "journal.sqlite"


def open_for_reading(workspace: Path) -> sqlite3.Connection | None:
    """Open an existing journal, or return None where there is none yet. Raises JournalTooNew, JournalError."""
    path = journal_file(workspace)
    if not path.is_file():
        return None
    connection = _connect(path, create=False)
    if version_of(connection, path) == 0:
        connection.close()
        return None
    return connection


def copy_for_reading(workspace: Path) -> sqlite3.Connection:
    """A copy of the journal in memory, for a disk that has no room for the index that SQLite's readers share.

    A connection that has the file to itself keeps that index in its own memory; it is closed at once, so that nobody
    waits for it. Raises JournalFull, also while another process has the journal open, and JournalError.
    """
    path = journal_file(workspace)

    def give_up(status: int, remaining: int, total: int) -> None:
        # Left alone, sqlite3 tries for as long as the other process lives.
        if status in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise JournalFull(
                f"{shortage(path.parent) or 'The disk may be full.'} The journal {path} cannot be read while a run has "
                "it open. Free some space on that disk, then try again."
            )

    copy = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    try:
        with closing(_connect(path, create=False)) as alone:
            alone.execute("PRAGMA locking_mode = EXCLUSIVE")
            alone.backup(copy, progress=give_up)
    except JournalFull:
        copy.close()
        raise
    except sqlite3.Error as error:
        copy.close()
        raise translate(error, path) from error
    copy.row_factory = sqlite3.Row
    return copy


def open_for_writing(workspace: Path) -> sqlite3.Connection:
    """Open the journal, made if missing. Raises JournalTooNew, JournalFull, JournalError."""
    path = journal_file(workspace)
    connection = _connect(path, create=True)
    try:
        if version_of(connection, path) == 0:
            use_wal(connection)
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                # Another process may have made the tables while this one waited for the lock.
                if version_of(connection, path) == 0:
                    for statement in filter(str.strip, _TABLES.split(";")):
                        connection.execute(statement)
                    connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")
    except sqlite3.Error as error:
        connection.close()
        raise translate(error, path) from error
    return connection


def translate(error: sqlite3.Error, path: Path) -> JournalError:
    """Name the cause and the next step of an SQLite failure."""
    text = str(error)
    if "readonly" in text:
        return JournalFull(
            f"The journal {path} cannot be written (it is read-only for this user). Everything judged so far is kept. "
            "Make it writable, then try again."
        )
    if "unable to open" in text and not os.access(path.parent, os.W_OK):
        # Also for reading: SQLite keeps its readers' shared index beside the journal.
        return JournalError(
            f"The journal {path} cannot be used, as its folder cannot be written (a read-only file system, or no "
            "permission). Make the folder writable, or work in a copy elsewhere."
        )
    if "full" in text or "disk I/O" in text:
        if short := shortage(path.parent):
            what, step = f"{short} The journal {path} cannot be written.", "Free some space on that disk"
        else:
            # SQLite says as much of a limit (ulimit -f, a quota) and of a disk that fails.
            what, step = f"The journal {path} cannot be written ({text}).", "See whether its disk or a limit is full"
        return JournalFull(f"{what} Everything judged so far is kept. {step}, then try again.")
    if "not a database" in text or "malformed" in text:
        return JournalError(
            f"{path} is not a readable journal ({text}). Move it away to start a new one; earlier runs are in it."
        )
    return JournalError(f"The journal {path} cannot be used: {text}.")


def _connect(path: Path, *, create: bool) -> sqlite3.Connection:
    mode = "rwc" if create else "rw"
    try:
        # Autocommit: transactions are written where they begin, so that their extent can be read.
        connection = sqlite3.connect(
            f"file:{path}?mode={mode}",
            uri=True,
            isolation_level=None,
            timeout=BUSY_TIMEOUT_MS / 1000,
            check_same_thread=False,
        )
    except sqlite3.Error as error:
        raise translate(error, path) from error
    connection.row_factory = sqlite3.Row
    return connection


def version_of(connection: sqlite3.Connection, path: Path) -> int:
    """The format of an open journal, 0 for an empty one. Closes it and raises JournalTooNew, JournalError."""
    try:
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    except sqlite3.Error as error:
        connection.close()
        raise translate(error, path) from error
    if version > VERSION:
        connection.close()
        raise JournalTooNew(
            f"The journal {path} was written by a newer kernel-evolve (its format is {version}; {__version__}, which "
            f"runs here, reads up to {VERSION}). Upgrade with: pip install --upgrade kernel-evolve, "
            f"or move the folder {path.parent} away to start without its runs."
        )
    return version
