"""A new SQLite database gets its tables without SQLAlchemy, whose import takes longer than most LOCAL runs.

``statements/sqlite_schema.sql`` is what SQLAlchemy would emit for ``models.py`` (``rendered`` in the tests of
migrations says how); a test holds the two equal. Anything but an empty database goes through ``schema.py``.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from highway_core.persistence.schema_version import CREATE_VERSION_TABLE, HEAD

SCHEMA = Path(__file__).parent / "statements" / "sqlite_schema.sql"


def create_if_empty(connection: sqlite3.Connection) -> bool:
    """Make the tables of a database that has none; False if it has some, by another process perhaps."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        empty = connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is None
        if empty:
            for statement in SCHEMA.read_text(encoding="utf-8").split(";\n"):
                connection.execute(statement)
            connection.execute(CREATE_VERSION_TABLE)
            connection.execute("INSERT INTO alembic_version (version_num) VALUES (?)", (HEAD,))
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
    return empty
