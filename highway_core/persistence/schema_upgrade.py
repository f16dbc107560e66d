"""Brings a database to the newest schema: a new one directly, an older one by the migrations.

Safe when several processes start at once: one works, the others wait for it and find nothing left to do.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Sequence

from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from highway_core.errors import SchemaError, StorageError
from highway_core.persistence.engines import IMMEDIATE, engine_over
from highway_core.persistence.location import Location, locate
from highway_core.persistence.models import Base
from highway_core.persistence.schema_version import CREATE_VERSION_TABLE, HEAD, SELECT_VERSION, check_server, unknown
from highway_core.persistence.statements.durable_functions import DURABLE_TABLES, FUNCTIONS, OPEN_TASKS, STATUS_DOMAINS

_log = logging.getLogger(__name__)

_ADVISORY_LOCK = 0x6869676877617900
"""PostgreSQL's lock number of schema changes: "highway" in ASCII."""

_ORIGINAL_COLUMNS = frozenset({"workflow_id", "workflow_name", "status"})
"""What the table ``workflows`` of the original library has, whichever of its versions made it."""

_AS_IT_IS = {"no_parameters": True}
"""Execution options of SQL in which a percent sign is one."""


def ensure_schema(engine: Engine) -> None:
    """Create or upgrade the tables. SchemaError if the database is of a newer Highway or of something else."""
    _ensure(engine, locate(engine_url=engine.url.render_as_string(hide_password=False)))


def upgrade_postgresql(location: Location, *, renew_functions: bool) -> None:
    """The same by URL, over a connection of its own.

    ``renew_functions`` replaces DURABLE mode's functions also where the tables are the newest. A service that calls
    one at that moment may see its call fail, so this is for the operator to ask for.
    """
    engine = create_engine(location.url, poolclass=NullPool)
    try:
        with engine.connect() as connection, connection.begin():
            _lock(connection, location)
            if renew_functions and _versions(connection) == [HEAD]:
                _install_functions(connection)
            _bring_up(connection, location)
    except SQLAlchemyError as error:
        raise _failure(location, error) from error


def ensure_sqlite_schema(location: Location, connection: sqlite3.Connection) -> None:
    """The same over an open connection, which stays open."""
    _ensure(engine_over(connection), location)


def _ensure(engine: Engine, location: Location) -> None:
    try:
        with engine.connect() as connection:
            if _versions(connection) == [HEAD]:
                return
        with engine.connect().execution_options(**{IMMEDIATE: True}) as connection, connection.begin():
            _lock(connection, location)
            _bring_up(connection, location)
    except SQLAlchemyError as error:
        raise _failure(location, error) from error


def _lock(connection: Connection, location: Location) -> None:
    """One at a time; SQLite's BEGIN IMMEDIATE has seen to it already."""
    if connection.dialect.name == "postgresql":
        check_server(int(connection.exec_driver_sql("SHOW server_version_num").scalar_one()), location.label)
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})")


def _failure(location: Location, error: SQLAlchemyError) -> StorageError:
    # SQLAlchemy's own text repeats the statement, which may be the whole schema.
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    return location.error("be brought to the newest schema", cause)


def _bring_up(connection: Connection, location: Location) -> None:
    """Inside a transaction that holds the lock on schema changes."""
    versions = _versions(connection)
    if versions == [HEAD]:
        return
    refusal = _refusal(connection, versions)
    if refusal is not None:
        raise SchemaError(f"{location.label} {refusal}.")
    if not versions and not _ours(connection):
        _log.info("making the tables of %s", location.label)
        _create(connection, stamped=versions is not None)
        return
    # Alembic takes 100 ms to import and is needed once in the life of a schema.
    from highway_core.persistence.migrations.upgrade import upgrade_to_head  # noqa: PLC0415

    _log.info("upgrading %s from %s", location.label, versions or "the original library")
    upgrade_to_head(connection)
    _install_functions(connection)


def why_not(location: Location) -> str | None:
    """Why an upgrade would be refused, to be said after the database's name; None if it would not be."""
    engine = create_engine(location.url, poolclass=NullPool)
    try:
        with engine.connect() as connection:
            return _refusal(connection, _versions(connection))
    except SQLAlchemyError as error:
        raise _failure(location, error) from error


def _refusal(connection: Connection, versions: Sequence[str] | None) -> str | None:
    if versions:
        return unknown(versions)
    ours = _ours(connection)
    if ours and not _is_original(connection):
        return f"holds tables called {', '.join(ours)} that are not Highway's. Name another database"
    return None


def _versions(connection: Connection) -> list[str] | None:
    """The stamped revisions; None if nothing was ever stamped."""
    if not connection.dialect.has_table(connection, "alembic_version"):
        return None
    return [str(row[0]) for row in connection.exec_driver_sql(SELECT_VERSION)]


def _ours(connection: Connection) -> list[str]:
    """Tables of the database that are called like ours."""
    return [name for name in Base.metadata.tables if connection.dialect.has_table(connection, name)]


def _is_original(connection: Connection) -> bool:
    if not connection.dialect.has_table(connection, "workflows"):
        return False
    columns = connection.dialect.get_columns(connection, "workflows")
    return {column["name"] for column in columns} >= _ORIGINAL_COLUMNS


def _create(connection: Connection, stamped: bool) -> None:
    """The schema, and the stamp that Alembic would have left."""
    create_schema(connection)
    if not stamped:
        connection.exec_driver_sql(CREATE_VERSION_TABLE)
    connection.execute(text("INSERT INTO alembic_version (version_num) VALUES (:head)"), {"head": HEAD})


def create_schema(connection: Connection) -> None:
    """Everything as the migrations would make it: the models, and on PostgreSQL what DURABLE mode adds to them."""
    Base.metadata.create_all(connection, checkfirst=False)
    if connection.dialect.name == "postgresql":
        for statements in (DURABLE_TABLES, OPEN_TASKS, STATUS_DOMAINS):
            connection.exec_driver_sql(statements, execution_options=_AS_IT_IS)
    _install_functions(connection)


def _install_functions(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(FUNCTIONS, execution_options=_AS_IT_IS)
