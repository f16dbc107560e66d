"""How a SQLite database is opened, by whomever: a private file, write-ahead log, normal locking.

Standard library only: importing SQLAlchemy takes longer than most LOCAL runs.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from highway_core.persistence.location import Location
from highway_core.utils.clock import SystemClock, sleep

BUSY_SECONDS = 30.0
"""How long a writer waits for another process before it gives up."""
_PAGE_SIZE = 2048
"""Bytes; half of SQLite's default. A save of one task writes a few hundred bytes, and every page that they touch."""
_LOG_PAGES = 10_000
"""How long the write-ahead log gets (20 MB) before SQLite moves it into the file, which waits for the disk twice.

With SQLite's default of 1,000 pages, those waits took longer than the saves between them.
"""


def open_sqlite(location: Location) -> sqlite3.Connection:
    """A connection that begins and ends its transactions itself and may be used by any thread, one at a time."""
    try:
        if location.path is not None:
            _create_private(location.path)
        connection = sqlite3.connect(
            location.path or ":memory:", timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            _tune(connection)
        except sqlite3.Error:
            connection.close()
            raise
    except (OSError, sqlite3.Error) as error:
        raise location.error("be opened", error) from error
    return connection


def _create_private(path: Path) -> None:
    """Create the file so that only its owner reads it.

    Only if it is missing: closing any descriptor of an existing one would drop this process's SQLite locks on it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        return


def _tune(connection: sqlite3.Connection) -> None:
    clock = SystemClock()
    deadline = clock.monotonic() + BUSY_SECONDS
    connection.execute(f"PRAGMA page_size={_PAGE_SIZE}")  # of a new file; another keeps its own
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            break
        except sqlite3.OperationalError as error:
            # The change to WAL does not wait for the busy timeout when several processes create a database at once.
            if "locked" not in str(error) or clock.monotonic() > deadline:
                raise
            sleep(0.01)
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute(f"PRAGMA wal_autocheckpoint={_LOG_PAGES}")
    connection.execute("PRAGMA foreign_keys=ON")
