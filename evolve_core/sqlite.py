"""What SQLite does not wait for by itself."""

from __future__ import annotations

import sqlite3
import time

PATIENCE_S = 5.0


def use_wal(connection: sqlite3.Connection) -> None:
    """Switch a database to write-ahead logging (it stays so), waiting while another process does the same.

    The switch needs the file for itself for a moment, and SQLite's busy timeout does not cover it: two processes that
    open a new database at once would find it locked. Raises sqlite3.OperationalError where it stays locked.
    """
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
