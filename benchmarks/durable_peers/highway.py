"""Highway in DURABLE mode: a worker or the Scheduler, or the client that measures.

    python highway.py setup | worker | scheduler | client

With ``BENCH_PROFILE`` a worker writes into that folder where its time went.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import psycopg2
from serve import DATABASE, SUBMIT_AT_ONCE, System, serve

HERE = Path(__file__).resolve().parent
_LONGEST_WAIT = 60

os.environ |= {
    "HIGHWAY_DATABASE_URL": DATABASE,
    "HIGHWAY_HOME": os.environ.get("BENCH_FOLDER", "."),
    "HIGHWAY_TOOLS_DIR": str(HERE / "highway_tools"),
}


def document(name: str, tasks: Iterable[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    return {"name": name, "tasks": dict(tasks)}


def step(number: int, *before: str) -> dict[str, Any]:
    return {"operator_type": "task", "function": "bench.step", "args": [number], "dependencies": list(before)}


def chain(steps: int) -> dict[str, Any]:
    tasks = ((f"s{number}", step(number, *([f"s{number - 1}"] if number else []))) for number in range(steps))
    return document(f"chain_{steps}", tasks)


def fan_out(width: int) -> dict[str, Any]:
    branches = [f"b{number}" for number in range(width)]
    tasks = [("first", step(0)), *((name, step(number, "first")) for number, name in enumerate(branches))]
    return document(f"fan_out_{width}", [*tasks, ("last", step(1, *branches))])


def sleeper(seconds: float) -> dict[str, Any]:
    return document("sleeper", [("sleep", {"operator_type": "wait", "wait_for": f"PT{seconds:g}S"})])


def setup() -> None:
    import_module("highway_core.persistence.schema").require_schema(DATABASE)


def service(name: str) -> int:
    """``python -m highway_core.services.…`` in this process."""
    main: Callable[[], int] = import_module(f"highway_core.services.{name}").main
    if "BENCH_PROFILE" in os.environ and name == "worker":
        return int(import_module("sampler").sampled(main, Path(os.environ["BENCH_PROFILE"])))
    return main()


class Client(System):
    """Starts runs as the API does. Documents are compiled once, as by whoever starts many runs of them."""

    version = ""

    def __init__(self) -> None:
        wiring = import_module("highway_core.engine.durable.wiring")
        self._operations = import_module("highway_core.engine.durable.operations")
        self._loader = import_module("highway_core.engine.loader")
        reads = import_module("highway_core.persistence.run_reads")
        self._services = wiring.durable_services()
        self._runs = wiring.open_durable(services=self._services)
        connections = import_module("highway_core.persistence.durable_connection")
        waiter = import_module("highway_core.persistence.run_waiter").RunWaiter
        self._waiter = waiter(DATABASE, reads.RunReads(connections.ConnectionPool(DATABASE)).statuses)
        self._compiled = cache(self._compile)
        connection = psycopg2.connect(DATABASE)
        connection.autocommit = True
        self._cursor = connection.cursor()

    def submit_chains(self, runs: int, steps: int) -> None:
        self._submit(chain, steps, runs)

    def submit_fan_out(self, width: int) -> None:
        self._submit(fan_out, width, 1)

    def submit_sleeps(self, runs: int, seconds: float) -> None:
        self._submit(sleeper, seconds, runs)

    def run_one(self) -> None:
        started = self._runs.start(self._request(chain, 1))
        if not self._waiter.wait_for_end(started.run_id, _LONGEST_WAIT):
            raise SystemExit(f"{started.run_id} is not over")

    def open_runs(self) -> int:
        return self._number("SELECT count(*) FROM workflows WHERE end_time IS NULL")

    def steps_done(self) -> int:
        return self._number(
            "SELECT count(*) FROM tasks WHERE status = 'completed' AND operator_type = 'task'"
            " AND result_value_json IS NOT NULL"
        )

    def asleep(self) -> int:
        return self._number("SELECT count(*) FROM task_queue WHERE status = 'WAITING_FOR_TIMER'")

    def first_due(self) -> float:
        return float(self._number("SELECT extract(epoch FROM min(wake_up_at)) FROM tasks") or "inf")

    def lateness(self) -> list[float]:
        """Until the run is stored as ended, not only its timer."""
        self._cursor.execute(
            "SELECT extract(epoch FROM r.end_time - t.wake_up_at) FROM tasks t JOIN workflows r USING (workflow_id)"
            " WHERE t.operator_type = 'wait'"
        )
        return [float(late) for (late,) in self._cursor.fetchall()]

    def _submit(self, shape: Callable[[Any], dict[str, Any]], size: float, runs: int) -> None:
        for first in range(0, runs, SUBMIT_AT_ONCE):
            number = min(runs - first, SUBMIT_AT_ONCE)
            self._runs.start_many([self._request(shape, size) for _ in range(number)])

    def _request(self, shape: Callable[[Any], dict[str, Any]], size: float) -> Any:
        return self._operations.StartRequest(self._compiled(shape, size))

    def _compile(self, shape: Callable[[Any], dict[str, Any]], size: float) -> Any:
        source = self._loader.read_source(shape(size))
        return self._loader.compile_document(source, inputs=())[0]

    def _number(self, query: str) -> Any:
        self._cursor.execute(query)
        return self._cursor.fetchone()[0]


if __name__ == "__main__":
    role = sys.argv[1]
    if role == "setup":
        setup()
    elif role == "client":
        serve(Client())
    else:
        raise SystemExit(service(role))
