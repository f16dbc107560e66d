"""Absurd: a worker, or the client that measures.

    python absurd_app.py setup | worker | client

A run is a task of Absurd and a step is a step of it. A task must not wait for others of its own queue, so the branches
of a fan-out have a queue for themselves, and every process works on both. The numbers are the best of those tried
(README.md).
"""

from __future__ import annotations

import os
import sys
import threading
import time
from importlib.metadata import version
from typing import Any

import absurdctl
import psycopg
from absurd_sdk import Absurd, TaskContext
from serve import DATABASE, SUBMIT_AT_ONCE, System, serve, step_result

RUNS, BRANCHES = "runs", "branches"
CONNECTIONS = 2
"""Of a process and queue, each with a thread. Threads that share one, as with ``concurrency``, are slower."""
CLAIMED_AT_ONCE = 20
POLL = 0.01
"""Seconds between two looks into a queue that was empty."""


def worker(queue: str) -> Absurd:
    app = Absurd(DATABASE, queue_name=queue)

    @app.register_task("chain")
    def chain(params: Any, context: TaskContext) -> int:
        for number in range(params["n"]):
            context.step(f"step-{number}", lambda number=number: step_result(number))
        return params["n"]

    @app.register_task("fan_out")
    def fan_out(params: Any, context: TaskContext) -> int:
        context.step("first", lambda: step_result(0))
        with psycopg.connect(DATABASE, autocommit=True) as connection:
            other = Absurd(connection, queue_name=BRANCHES)
            branches = context.step("spawn", lambda: spawn(connection, other, "chain", BRANCHES, params["n"], 1))
            context.step("join", lambda: [other.await_task_result(branch).state for branch in branches] and None)
        context.step("last", lambda: step_result(1))
        return params["n"]

    @app.register_task("sleeper")
    def sleeper(params: Any, context: TaskContext) -> float:
        context.sleep_for("sleep", params["n"])
        return params["n"]

    return app


def spawn(
    connection: psycopg.Connection[Any], app: Absurd, name: str, queue: str, runs: int, argument: float
) -> list[str]:
    """In large transactions: every commit waits for the disk."""
    found = []
    for first in range(0, runs, SUBMIT_AT_ONCE):
        with connection.transaction():
            for _ in range(first, min(runs, first + SUBMIT_AT_ONCE)):
                found.append(str(app.spawn(name, {"n": argument}, queue=queue)["task_id"]))
    return found


def setup() -> None:
    """The schema, which comes with absurdctl, and the queues."""
    with psycopg.connect(DATABASE, autocommit=True) as connection:
        connection.execute(absurdctl.BUNDLED_SCHEMA_SQL)
    app = Absurd(DATABASE)
    app.create_queue(RUNS)
    app.create_queue(BRANCHES)


def work() -> None:
    for queue in (RUNS, BRANCHES):
        for number in range(CONNECTIONS):
            options = {"batch_size": CLAIMED_AT_ONCE, "poll_interval": POLL}
            name = f"{os.getpid()}-{number}"
            threading.Thread(target=worker(queue).start_worker, args=(name,), kwargs=options, daemon=True).start()
    threading.Event().wait()


class Client(System):
    version = version("absurd-sdk")

    def __init__(self) -> None:
        self._connection = psycopg.connect(DATABASE, autocommit=True)
        self._app = Absurd(self._connection, queue_name=RUNS)

    def submit_chains(self, runs: int, steps: int) -> None:
        spawn(self._connection, self._app, "chain", RUNS, runs, steps)

    def submit_fan_out(self, width: int) -> None:
        spawn(self._connection, self._app, "fan_out", RUNS, 1, width)

    def submit_sleeps(self, runs: int, seconds: float) -> None:
        spawn(self._connection, self._app, "sleeper", RUNS, runs, seconds)

    def run_one(self) -> None:
        """Its own waiting begins with a pause of 50 ms."""
        task = self._app.spawn("chain", {"n": 1}, queue=RUNS)["task_id"]
        while True:
            found = self._app.fetch_task_result(task)
            if found is not None and found.state == "completed":
                return
            time.sleep(0.002)

    def open_runs(self) -> int:
        return self._number(
            "SELECT count(*) FROM absurd.t_runs WHERE state NOT IN ('completed', 'failed', 'cancelled')"
        )

    def steps_done(self) -> int:
        return self._number(
            "SELECT (SELECT count(*) FROM absurd.c_runs WHERE checkpoint_name ~ '^(step|first|last)')"
            " + (SELECT count(*) FROM absurd.c_branches)"
        )

    def asleep(self) -> int:
        return self._number("SELECT count(*) FROM absurd.r_runs WHERE state = 'sleeping'")

    def first_due(self) -> float:
        due = "SELECT extract(epoch FROM min((state #>> '{}')::timestamptz)) FROM absurd.c_runs"
        return float(self._number(f"{due} WHERE checkpoint_name = 'sleep'") or "inf")

    def lateness(self) -> list[float]:
        rows = self._connection.execute(
            "SELECT extract(epoch FROM max(r.completed_at) - max((c.state #>> '{}')::timestamptz)) FROM absurd.r_runs r"
            " JOIN absurd.c_runs c USING (task_id) WHERE c.checkpoint_name = 'sleep' GROUP BY task_id"
        )
        return [float(late) for (late,) in rows]

    def _number(self, query: str) -> Any:
        row = self._connection.execute(query).fetchone()
        return row[0] if row else 0


if __name__ == "__main__":
    {"setup": setup, "worker": work, "client": lambda: serve(Client())}[sys.argv[1]]()
