"""Connections of DURABLE mode to PostgreSQL: psycopg2 in autocommit, one round trip a call.

A connection that is lost is opened again at the next call; the call during which it was lost fails with
:class:`ConnectionLostError`, because nobody can know whether it was carried out. Callers repeat what may be repeated.
"""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import psycopg2

from highway_core.errors import ConfigError, ConnectionLostError
from highway_core.persistence.call_watch import CALL_WATCH
from highway_core.persistence.location import Location, locate
from highway_core.utils.clock import SystemClock

LONGEST_CALL = 60.0
"""Seconds that a call may take; it may have to wait for others who work on the same run."""
_CONNECT_SECONDS = 10
_CONFLICTS = ("40", "55P03")
"""SQLSTATEs, or how they begin: rolled back because of others; the connection is as good as ever."""
_PASSING = ("08", "53", "57", "58", "25006", "25P03")
"""The server has no room, is being shut down, cannot write its disk, is read-only (another one has taken over), or was
tired of waiting for us."""
_KEEPALIVE = {
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
_SESSION = """
SET idle_in_transaction_session_timeout = '20s';
SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3;
SET tcp_user_timeout = '20s'
"""
"""The same the other way round: whoever was frozen or cut off in the middle of a transaction must not keep the lock of
a run for longer, for all who work on it would wait."""


def durable_location(url: str) -> Location:
    """The PostgreSQL database of a URL; ConfigError if it is another kind of database."""
    location = locate(engine_url=url)
    if location.dialect != "postgresql":
        raise ConfigError(
            f"DURABLE mode needs PostgreSQL, not the {location.label}. Set HIGHWAY_DATABASE_URL to a postgresql:// URL,"
            " or let 'durable start-services' start the embedded PostgreSQL (pip install 'highway-core[embedded]')."
        )
    return location


class DurableConnection:
    """One connection. Not thread-safe: every thread has its own, or takes one from a :class:`ConnectionPool`. A call
    that has no answer after ``patience`` seconds is broken off, which to its caller is a lost connection."""

    def __init__(self, url: str, name: str = "highway", patience: float = LONGEST_CALL) -> None:
        self.patience = patience
        self._location = durable_location(url)
        self._url = self._location.url.replace("postgresql+psycopg2://", "postgresql://", 1)
        self._name = name
        self._connection: Any = None
        self._in_transaction = False
        self._called_at: float | None = None
        self._clock = SystemClock()
        self._is_over = False

    def fetch(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Carry out one statement (its own transaction, unless inside :meth:`transaction`) and return its rows."""
        with self._translated(), self._open().cursor() as cursor:
            cursor.execute(sql, tuple(values) or None)
            return cursor.fetchall() if cursor.description else []

    def value(self, sql: str, values: Sequence[Any] = ()) -> Any:
        """The first column of the first row, or None."""
        rows = self.fetch(sql, values)
        return rows[0][0] if rows else None

    def run(self, sql: str, values: Sequence[Any] = ()) -> int:
        """Carry out one statement and return how many rows it touched."""
        with self._translated(), self._open().cursor() as cursor:
            cursor.execute(sql, tuple(values) or None)
            return int(cursor.rowcount)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Several statements as one transaction; rolled back if anything is raised."""
        self.run("BEGIN")
        self._in_transaction = True
        try:
            yield
            self._in_transaction = False
            self.run("COMMIT")
        except BaseException:
            self._in_transaction = False
            self._roll_back()
            raise

    def fileno(self) -> int:
        """For select(), while notifications are waited for."""
        return int(self._open().fileno())

    def listen(self, *channels: str) -> None:
        """Hear what is notified on ``channels`` from now on; after a reconnect it must be said again."""
        for channel in channels:
            self.run(f"LISTEN {channel}")

    def notifications(self) -> list[tuple[str, str]]:
        """``(channel, payload)`` of what has come in since the last call; does not wait."""
        with self._translated():
            connection = self._open()
            connection.poll()
            heard = [(one.channel, one.payload) for one in connection.notifies]
            connection.notifies.clear()
            return heard

    @property
    def is_open(self) -> bool:
        return self._connection is not None and not self._connection.closed

    def busy_for(self) -> float:
        """How many seconds ago a call began that has not ended; 0 if there is none. From any thread."""
        called_at = self._called_at
        return 0.0 if called_at is None else self._clock.monotonic() - called_at

    def break_off(self, *, for_good: bool = False) -> bool:
        """Let the call that is under way fail with ConnectionLostError, and any other too if it is ``for_good``. From
        any thread; False if there is nothing to break."""
        self._is_over = self._is_over or for_good
        connection = self._connection
        if connection is None or connection.closed:
            return False
        try:
            with socket.socket(fileno=os.dup(connection.fileno())) as one:
                one.shutdown(socket.SHUT_RDWR)
        except (OSError, psycopg2.Error):  # it is broken already
            return False
        return True

    def close(self) -> None:
        """Idempotent; the next call opens it again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _roll_back(self) -> None:
        if self.is_open:
            try:
                self._connection.rollback()
                with self._connection.cursor() as cursor:
                    cursor.execute("ROLLBACK")
            except psycopg2.Error:
                self.close()

    def _open(self) -> Any:
        if self._connection is None or self._connection.closed:
            if self._in_transaction:
                self._in_transaction = False
                raise ConnectionLostError("The connection to PostgreSQL was lost inside a transaction.")
            if self._is_over:
                raise ConnectionLostError("The connection to PostgreSQL was given up.")
            connection = psycopg2.connect(
                self._url, application_name=self._name, connect_timeout=_CONNECT_SECONDS, **_KEEPALIVE
            )
            connection.autocommit = True
            self._connection = connection
            CALL_WATCH.look_after(self)
            with connection.cursor() as cursor:
                cursor.execute(_SESSION)
        return self._connection

    @contextmanager
    def _translated(self) -> Iterator[None]:
        self._called_at = self._clock.monotonic()
        try:
            yield
        except psycopg2.Error as error:
            state = error.pgcode or ""
            if state.startswith(_CONFLICTS):
                raise ConnectionLostError(*self._location.error("finish a transaction", error).args) from error
            if not self.is_open or state.startswith(_PASSING) or _is_broken(error):
                doing = "carry a statement out" if state else "be reached"
                self.close()
                raise ConnectionLostError(*self._location.error(doing, error).args) from error
            raise self._location.error("carry a statement out", error) from error
        except ValueError as error:  # text with NUL
            raise self._location.error("carry a statement out", error) from error
        finally:
            self._called_at = None


def _is_broken(error: psycopg2.Error) -> bool:
    """What psycopg2 raises, without a state and with a connection that it takes for open, when a server died."""
    return error.pgcode is None and type(error) in {psycopg2.DatabaseError, psycopg2.OperationalError}


class ConnectionPool:
    """Connections for threads that need one now and then; grows to as many as are used at once."""

    def __init__(self, url: str, name: str = "highway") -> None:
        self._url = url
        self._name = name
        self._free: list[DurableConnection] = []
        self._lock = threading.Lock()
        durable_location(url)

    @contextmanager
    def connection(self) -> Iterator[DurableConnection]:
        """A connection for the calling thread."""
        with self._lock:
            connection = self._free.pop() if self._free else DurableConnection(self._url, self._name)
        try:
            yield connection
        finally:
            with self._lock:
                self._free.append(connection)

    def close(self) -> None:
        """Close those that nobody uses."""
        with self._lock:
            free, self._free = self._free, []
        for connection in free:
            connection.close()


def as_json(value: Any) -> str | None:
    """A JSON parameter of a statement; None for what is empty."""
    return json.dumps(value, separators=(",", ":")) if value else None


def moment_of(epoch: float | None) -> datetime | None:
    """A moment that a statement returned as seconds since 1970."""
    return None if epoch is None else datetime.fromtimestamp(epoch, UTC)
