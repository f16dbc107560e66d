"""Where the time of Highway goes: its threads, its functions, and those of PostgreSQL, during one workload."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg2
from durable_systems import Contender, running, warm_up
from postgres_server import Server, cpu_seconds

_SHOWN = 35
_BUSY = 0.02
_FUNCTIONS = """
SELECT funcname, calls, total_time, self_time FROM pg_stat_user_functions ORDER BY total_time DESC LIMIT 12
"""


def profile(contender: Contender, server: Server, folder: Path, command: dict[str, Any], chain: int) -> Iterator[str]:
    """Lines to print. ``command``: what the client is asked to do (``{"do": "chains", …}``); ``chain``: see warm_up."""
    contender = replace(contender, environ={**contender.environ, "BENCH_PROFILE": str(folder)})
    with server.database("profile") as url:
        _carry_out(url, f"ALTER DATABASE {url.partition('?')[0].rsplit('/', 1)[1]} SET track_functions = 'pl'")
        with running(contender, url, folder) as system:
            warm_up(system, chain)
            _carry_out(url, "SELECT pg_stat_reset()")
            users = {"services": system.services, "PostgreSQL": [server.pid], "client": [system.client]}
            before = {user: cpu_seconds(pids) for user, pids in users.items()}
            (folder / "go").touch()
            seconds = system.call(**command)["seconds"]
            (folder / "go").unlink()
            used = {user: cpu_seconds(pids) - before[user] for user, pids in users.items()}
        yield f"{command}: {seconds:.3f} s"
        yield "CPU seconds: " + ", ".join(f"{user} {amount:.2f}" for user, amount in used.items())
        yield "\nFunctions in PostgreSQL: calls, ms in all, ms without those that it calls, ms a call\n"
        for name, calls, total, own in _carry_out(url, _FUNCTIONS):
            yield f"  {name:<36}{calls:>9,}{total:>11,.0f}{own:>11,.0f}{total / max(1, calls):>10.3f}"
    for file in sorted(folder.glob("worker-*.json")):
        yield from _threads(json.loads(file.read_text()))


def _threads(seen: dict[str, Any]) -> Iterator[str]:
    """One worker's. Threads that did next to nothing are left out."""
    samples, cpu = max(1, seen["samples"]), seen["cpu"]
    busy = {name for name, seconds in cpu.items() if seconds > _BUSY * sum(cpu.values())} - {"sampler"}
    yield f"\nA worker: {seen['seconds']:.2f} s, {samples} samples, CPU by thread: " + ", ".join(
        f"{name} {seconds:.2f} s" for name, seconds in sorted(cpu.items(), key=lambda one: -one[1])
    )
    for title, rows in (("with what it calls", seen["inclusive"]), ("itself", seen["self"])):
        yield f"\n  % of the time that threads spent in a function, {title}\n"
        shown = [row for row in rows if row[0] in busy][:_SHOWN]
        for thread, name, number in shown:
            yield f"  {100 * number / samples:>7.1f}  {thread:<24}{name}"


def _carry_out(url: str, statement: str) -> list[tuple[Any, ...]]:
    connection = psycopg2.connect(url)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()
