"""The connection of LOCAL runs to PostgreSQL: one round trip a save.

A string of several statements is one transaction for PostgreSQL and one message for the network. A connection that
the server ended is opened again and the work repeated: each of these transactions may be carried out twice.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from sqlalchemy.exc import SQLAlchemyError

from highway_core.errors import StorageError
from highway_core.persistence.connection import Batch
from highway_core.persistence.engines import engine_for
from highway_core.persistence.location import Location
from highway_core.persistence.schema_upgrade import ensure_schema
from highway_core.persistence.statements.local import POSTGRESQL, Statement
from highway_core.utils.clock import sleep

_PAUSES = (0.05, 0.2, 0.5, 1.0, 2.0)
"""Seconds before each repetition after a lost connection or a deadlock."""

_T = TypeVar("_T")


class _PassingError(StorageError):
    """The same work may succeed in a moment."""


class PostgresConnection:
    """A connection taken out of SQLAlchemy's pool for good."""

    def __init__(self, location: Location) -> None:
        self.statements = POSTGRESQL
        self._location = location
        self._lock = threading.Lock()
        self._closed = False
        self._engine = engine_for(location)
        self._driver: Any = self._engine.dialect.loaded_dbapi
        """psycopg2, which has no types of its own."""
        ensure_schema(self._engine)
        self._connection: Any = self._open()

    def stamp(self, moment: datetime | None) -> datetime | None:
        if moment is not None and moment.tzinfo is None:
            raise StorageError(f"A moment without time zone cannot be stored: {moment!r}")
        return moment

    def moment(self, stored: datetime) -> datetime:
        return stored.astimezone(UTC)

    def write(self, doing: str, batch: Batch) -> int:
        def work(cursor: Any) -> int:
            cursor.execute(b";".join(_text(cursor, statement, rows) for statement, rows in batch))
            return int(cursor.rowcount)

        return self._repeating(doing, work)

    def read(self, doing: str, *queries: tuple[Statement, Sequence[Any]]) -> list[list[tuple[Any, ...]]]:
        def work(cursor: Any) -> list[list[tuple[Any, ...]]]:
            results = []
            cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            for statement, values in queries:
                cursor.execute(statement.sql, tuple(values))
                results.append(cursor.fetchall())
            cursor.execute("COMMIT")
            return results

        return self._repeating(doing, work)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._discard()

    def _repeating(self, doing: str, work: Callable[[Any], _T]) -> _T:
        with self._lock:
            for pause in _PAUSES:
                try:
                    return self._once(doing, work)
                except _PassingError:
                    sleep(pause)
            return self._once(doing, work)

    def _once(self, doing: str, work: Callable[[Any], _T]) -> _T:
        if self._closed:
            raise StorageError(f"{self._location.label} could not {doing}: this manager is closed.")
        if self._connection is None:
            self._connection = self._open()
        try:
            with self._connection.cursor() as cursor:
                return work(cursor)
        # ValueError: text with NUL or without UTF-8.
        except (self._driver.Error, ValueError) as error:
            failure = self._location.error(doing, error)
            passing = bool(self._connection.closed) or isinstance(
                error, self._driver.extensions.TransactionRollbackError
            )
            # Also where the server goes on: it may have left a transaction open.
            self._discard()
            raise (_PassingError(*failure.args) if passing else failure) from error

    def _open(self) -> Any:
        try:
            pooled = self._engine.raw_connection()
        except (SQLAlchemyError, self._driver.Error) as error:
            raise _PassingError(*self._location.error("be reached", error).args) from error
        connection: Any = pooled.driver_connection
        pooled.detach()
        connection.rollback()
        connection.autocommit = True
        return connection

    def _discard(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _text(cursor: Any, statement: Statement, rows: Sequence[Sequence[Any]]) -> bytes:
    """The statement with its values written in."""
    if not statement.row:
        text: bytes = cursor.mogrify(statement.sql, tuple(rows[0]))
        return text
    values = b",".join(cursor.mogrify(statement.row, tuple(row)) for row in rows)
    return statement.head.encode() + values + statement.tail.encode()
