"""Which schema a database has, read without SQLAlchemy so that an up-to-date database costs one query."""

from __future__ import annotations

HEAD = "highway_0002"
"""The newest revision under ``migrations/versions``."""

KNOWN = frozenset({"highway_0001", HEAD})
"""Every revision this version of Highway can upgrade from, itself included."""

CREATE_VERSION_TABLE = (
    "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL,"
    " CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
)
"""As Alembic itself makes it."""

SELECT_VERSION = "SELECT version_num FROM alembic_version"
"""Fails where the table is missing: a new database, or one of the original library."""
