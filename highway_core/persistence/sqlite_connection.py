"""The connection of LOCAL runs to SQLite: the driver alone, no SQLAlchemy between it and a save."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from highway_core.errors import StorageError
from highway_core.persistence.connection import Batch
from highway_core.persistence.location import Location
from highway_core.persistence.schema_version import HEAD, SELECT_VERSION
from highway_core.persistence.sqlite_file import open_sqlite
from highway_core.persistence.sqlite_schema import create_if_empty
from highway_core.persistence.statements.local import SQLITE, Statement


class SqliteConnection:
    """One open connection; its schema is made or upgraded first if it is not the newest."""

    def __init__(self, location: Location) -> None:
        self.statements = SQLITE
        self._location = location
        self._lock = threading.Lock()
        self._closed = False
        self._connection = open_sqlite(location)
        try:
            if not self._up_to_date() and not self._created():
                # SQLAlchemy owns the schema, takes 150 ms to import, and is needed once in a database's life.
                from highway_core.persistence.schema_upgrade import ensure_sqlite_schema  # noqa: PLC0415

                ensure_sqlite_schema(location, self._connection)
        except StorageError:
            self._connection.close()
            raise

    def _created(self) -> bool:
        try:
            return create_if_empty(self._connection)
        except (OSError, sqlite3.Error) as error:
            raise self._location.error("be given its tables", error) from error

    def _up_to_date(self) -> bool:
        try:
            return self._connection.execute(SELECT_VERSION).fetchall() == [(HEAD,)]
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                return False
            raise self._location.error("be read", error) from error
        except sqlite3.Error as error:
            raise self._location.error("be read", error) from error

    def stamp(self, moment: datetime | None) -> str | None:
        if moment is None:
            return None
        if moment.tzinfo is not UTC:
            if moment.tzinfo is None:
                raise StorageError(f"A moment without time zone cannot be stored: {moment!r}")
            moment = moment.astimezone(UTC)
        # Twice as fast as isoformat(), which asks the time zone for its offset; a save stamps a dozen moments.
        return "%04d-%02d-%02d %02d:%02d:%02d.%06d" % (  # noqa: UP031
            moment.year,
            moment.month,
            moment.day,
            moment.hour,
            moment.minute,
            moment.second,
            moment.microsecond,
        )

    def moment(self, stored: str) -> datetime:
        moment = datetime.fromisoformat(stored)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)

    def write(self, doing: str, batch: Batch) -> int:
        connection = self._connection
        touched = 0
        with self._lock:
            self._check_open(doing)
            try:
                connection.execute("BEGIN IMMEDIATE")
                for statement, rows in batch:
                    if len(rows) == 1:
                        touched = connection.execute(statement.sql, rows[0]).rowcount
                    else:
                        touched = connection.executemany(statement.sql, rows).rowcount
                connection.execute("COMMIT")
            # ValueError: text that has no UTF-8. OverflowError: an integer beyond 64 bits.
            except (sqlite3.Error, ValueError, OverflowError) as error:
                raise self._location.error(doing, error) from error
            finally:
                self._end()
        return touched

    def read(self, doing: str, *queries: tuple[Statement, Sequence[Any]]) -> list[list[tuple[Any, ...]]]:
        connection = self._connection
        with self._lock:
            self._check_open(doing)
            try:
                connection.execute("BEGIN")
                return [connection.execute(statement.sql, values).fetchall() for statement, values in queries]
            except sqlite3.Error as error:
                raise self._location.error(doing, error) from error
            finally:
                self._end()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            try:
                self._connection.close()
            except sqlite3.Error as error:
                raise self._location.error("be closed", error) from error

    def _check_open(self, doing: str) -> None:
        if self._closed:
            raise StorageError(f"{self._location.label} could not {doing}: this manager is closed.")

    def _end(self) -> None:
        """Leave no transaction open, also after Ctrl-C in the middle of one."""
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise self._location.error("undo a transaction", error) from error
