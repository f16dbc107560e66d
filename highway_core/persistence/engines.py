"""SQLAlchemy engines, one for each database and process.

Nobody owns an engine, so nobody closes it: a manager that is done disposes of idle connections, and whoever still
uses the engine goes on. A SQLite file that was deleted and made again gets a new engine.
"""

from __future__ import annotations

import sqlite3
import threading

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import StaticPool

from highway_core.persistence.location import Location
from highway_core.persistence.sqlite_file import open_sqlite

IMMEDIATE = "highway_immediate"
"""Execution option of a connection: take SQLite's write lock at BEGIN, so that reading first cannot deadlock."""

_Identity = tuple[int, int] | None

_engines: dict[str, tuple[_Identity, Engine]] = {}
_lock = threading.Lock()


def engine_for(location: Location) -> Engine:
    """The engine of a database, made at the first call; one in memory gets an engine of its own each time."""
    if location.in_memory:
        return engine_over(open_sqlite(location))
    with _lock:
        identity, engine = _engines.get(location.url, (None, None))
        if engine is None or identity != _identity(location):
            engine = _make(location)
            _engines[location.url] = (_identity(location), engine)
        return engine


def engine_over(connection: sqlite3.Connection) -> Engine:
    """An engine whose one connection is ``connection``; the caller closes it."""
    return _with_explicit_begin(create_engine("sqlite://", creator=lambda: connection, poolclass=StaticPool))


def _make(location: Location) -> Engine:
    if location.dialect == "sqlite":
        open_sqlite(location).close()
        return _with_explicit_begin(create_engine(location.url, creator=lambda: open_sqlite(location)))
    return create_engine(
        location.url,
        pool_size=10,
        max_overflow=5,
        pool_pre_ping=True,
        connect_args={"connect_timeout": 10, "fallback_application_name": "highway"},
    )


def _identity(location: Location) -> _Identity:
    if location.path is None:
        return None
    try:
        stat = location.path.stat()
    except OSError:
        return None
    return (stat.st_dev, stat.st_ino)


def _with_explicit_begin(engine: Engine) -> Engine:
    """SQLite connections begin nothing by themselves; without this, DDL would not be part of a transaction."""

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        immediate = connection.get_execution_options().get(IMMEDIATE)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    return engine
