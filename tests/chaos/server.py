"""A PostgreSQL server of a test's own, which may be killed."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from itertools import count
from pathlib import Path
from typing import Any

import psycopg2

from highway_core.persistence.schema import upgrade
from highway_core.services.embedded_postgres import EmbeddedPostgres
from tests.waiting import eventually, runs


class OwnPostgres:
    """The embedded one, in a folder that ends with it."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="hwc"))  # the path of a socket must be short
        self._numbers = count(1)
        self._server = EmbeddedPostgres(self._folder)
        self.url = self._server.start()
        self.sql("CREATE DATABASE durable")
        upgrade(self._url_of("durable"))

    def database(self) -> str:
        """The URL of a new database with the schema of DURABLE mode."""
        name = f"test_{next(self._numbers)}"
        self.sql(f"CREATE DATABASE {name} TEMPLATE durable")
        return self._url_of(name)

    def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Carry out one statement over a connection of its own."""
        connection = psycopg2.connect(self.url)
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement, values or None)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def read_only(self, on: bool) -> None:
        """Let every transaction that begins from now on be read-only, or not any more: what a fail-over looks like."""
        self.sql(f"ALTER SYSTEM SET default_transaction_read_only = {'on' if on else 'off'}")
        self.sql("SELECT pg_reload_conf()")

    def transactions(self, database: str) -> int:
        """How many there have been so far, rolled back ones too."""
        sql = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = %s"
        return int(self.sql(sql, database)[0][0])

    def kill(self) -> None:
        """kill -9 of the postmaster; returns when it is gone, and its children with it."""
        pid = int((self._folder / "postgres" / "postmaster.pid").read_text().split()[0])
        children = [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        os.kill(pid, signal.SIGKILL)
        assert eventually(lambda: not any(map(runs, [pid, *children])))

    def kill_a_backend(self, application: str) -> None:
        """kill -9 of the process that serves a connection of that name: all others lose theirs, too."""
        found: list[tuple[Any, ...]] = []
        there = "SELECT pid FROM pg_stat_activity WHERE application_name = %s LIMIT 1"
        assert eventually(lambda: found.extend(self.sql(there, application)) or found)
        os.kill(found[0][0], signal.SIGKILL)
        assert eventually(lambda: not runs(found[0][0]))

    def start(self) -> float:
        """Start it again; the moment (monotonic) at which it takes connections."""
        self._server.start()
        return self.answers()

    def answers(self) -> float:
        """Wait until it takes connections; that moment (monotonic)."""
        assert eventually(self._is_there, within=30)
        return time.monotonic()

    def close(self) -> None:
        self._server.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _is_there(self) -> bool:
        try:
            return bool(self.sql("SELECT 1"))
        except psycopg2.Error:
            return False

    def _url_of(self, name: str) -> str:
        return self.url.replace("/postgres?", f"/{name}?")
