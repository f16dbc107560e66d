"""Which schema a database has, read without SQLAlchemy so that an up-to-date database costs one query."""

from __future__ import annotations

from collections.abc import Collection

from highway_core.errors import SchemaError

HEAD = "highway_0004"
"""The newest revision under ``migrations/versions``."""

KNOWN = frozenset({"highway_0001", "highway_0002", "highway_0003", HEAD})
"""Every revision this version of Highway can upgrade from, itself included."""

CREATE_VERSION_TABLE = (
    "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL,"
    " CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
)
"""As Alembic itself makes it."""

SELECT_VERSION = "SELECT version_num FROM alembic_version"
"""Fails where the table is missing: a new database, or one of the original library."""

_OLDEST_POSTGRESQL = 14


def unknown(revisions: Collection[str]) -> str | None:
    """What to say of a database, after its name, if this version of Highway does not know its revisions."""
    if KNOWN.issuperset(revisions):
        return None
    return (
        f"has schema {', '.join(revisions)}, which this version of Highway does not know."
        " It belongs to a newer Highway or to another application: upgrade Highway or name another database"
    )


def check_server(version_number: int, label: str) -> None:
    """SchemaError if a PostgreSQL of that ``server_version_num`` is too old."""
    major = version_number // 10_000
    if major < _OLDEST_POSTGRESQL:
        raise SchemaError(
            f"{label} is on PostgreSQL {major}, and Highway needs {_OLDEST_POSTGRESQL} or newer: upgrade the server or"
            " name another database."
        )
