"""DBOS: a worker, or the client that measures.

    python dbos_app.py setup | worker | client

Workflows and their steps are plain functions, the fan-out is a workflow of its own for every branch, on a queue: any of
the two processes takes them. Queues are polled; the intervals are the best of those tried (README.md).
"""

from __future__ import annotations

import asyncio
import sys
import threading
from importlib.metadata import version
from typing import Any

import sqlalchemy
from dbos import DBOS, DBOSClient, DBOSConfig
from serve import DATABASE, SUBMIT_AT_ONCE, System, serve, step_result

URL = DATABASE.replace("postgresql:", "postgresql+psycopg:")
RUNS, BRANCHES, SLEEPERS = "runs", "branches", "sleepers"
RUNS_AT_ONCE = 20
POLL = 0.03
"""Seconds between two looks into a queue."""
_SLEEP_POLL = 0.1


@DBOS.step()
def step(number: int) -> dict[str, Any]:
    return step_result(number)


@DBOS.workflow()
def chain(steps: int) -> int:
    for number in range(steps):
        step(number)
    return steps


@DBOS.workflow()
def branch(number: int) -> dict[str, Any]:
    return step(number)


@DBOS.workflow()
def fan_out(width: int) -> int:
    step(0)
    handles = [DBOS.enqueue_workflow(BRANCHES, branch, number) for number in range(width)]
    for handle in handles:
        handle.get_result(polling_interval_sec=POLL)
    step(1)
    return width


@DBOS.step()
async def awaited_step(number: int) -> dict[str, Any]:
    return step_result(number)


@DBOS.workflow()
async def gathered(width: int) -> int:
    """A fan-out of steps instead of workflows: they stay in this process, on its event loop."""
    await awaited_step(0)
    await asyncio.gather(*[awaited_step(number) for number in range(width)])
    await awaited_step(1)
    return width


@DBOS.workflow()
async def sleeper(seconds: float) -> float:
    """On the event loop: a plain function would hold a thread while it sleeps."""
    await DBOS.sleep_async(seconds)
    return seconds


def launch() -> None:
    config: DBOSConfig = {
        "name": "bench",
        "system_database_url": URL,
        "application_version": "1",
        "log_level": "ERROR",
        "sys_db_pool_size": 2 * RUNS_AT_ONCE,
        "max_executor_threads": 4 * RUNS_AT_ONCE,
        "use_listen_notify": True,
    }
    DBOS(config=config)
    DBOS.launch()


def setup() -> None:
    """Tables and queues."""
    launch()
    DBOS.register_queue(RUNS, worker_concurrency=RUNS_AT_ONCE, polling_interval_sec=POLL)
    DBOS.register_queue(BRANCHES, worker_concurrency=RUNS_AT_ONCE, polling_interval_sec=POLL)
    DBOS.register_queue(SLEEPERS, polling_interval_sec=_SLEEP_POLL)
    DBOS.destroy()


def work() -> None:
    launch()
    threading.Event().wait()


class Client(System):
    version = version("dbos")

    def __init__(self) -> None:
        self._client = DBOSClient(system_database_url=URL)
        self._engine = sqlalchemy.create_engine(URL)
        self._look = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")

    def submit_chains(self, runs: int, steps: int) -> None:
        self._submit(RUNS, "chain", runs, steps)

    def submit_fan_out(self, width: int) -> None:
        self._submit(RUNS, "fan_out", 1, width)

    def submit_gathered(self, width: int) -> None:
        self._submit(RUNS, "gathered", 1, width)

    def submit_sleeps(self, runs: int, seconds: float) -> None:
        self._submit(SLEEPERS, "sleeper", runs, seconds)

    def run_one(self) -> None:
        handle = self._client.enqueue({"workflow_name": "chain", "queue_name": RUNS}, 1)
        handle.get_result(polling_interval_sec=0.002)

    def open_runs(self) -> int:
        return self._number("SELECT count(*) FROM dbos.workflow_status WHERE status IN ('ENQUEUED', 'PENDING')")

    def steps_done(self) -> int:
        return self._number("SELECT count(*) FROM dbos.operation_outputs WHERE function_name ~ 'step$'")

    def asleep(self) -> int:
        return self._number(
            "SELECT count(*) FROM dbos.operation_outputs o JOIN dbos.workflow_status w USING (workflow_uuid)"
            " WHERE o.function_name = 'DBOS.sleep' AND w.status = 'PENDING'"
        )

    def first_due(self) -> float:
        due = "SELECT min(output::double precision) FROM dbos.operation_outputs WHERE function_name = 'DBOS.sleep'"
        return self._number(due) or float("inf")

    def lateness(self) -> list[float]:
        rows = self._look.execute(
            sqlalchemy.text(
                "SELECT w.completed_at / 1000.0 - o.output::double precision FROM dbos.operation_outputs o"
                " JOIN dbos.workflow_status w USING (workflow_uuid) WHERE o.function_name = 'DBOS.sleep'"
            )
        )
        return [float(late) for (late,) in rows]

    def _submit(self, queue: str, workflow: str, runs: int, argument: float) -> None:
        with self._engine.connect() as connection:
            for first in range(0, runs, SUBMIT_AT_ONCE):
                with connection.begin():
                    for _ in range(first, min(runs, first + SUBMIT_AT_ONCE)):
                        options: Any = {"workflow_name": workflow, "queue_name": queue}
                        self._client.enqueue_in_transaction(connection, options, argument)

    def _number(self, query: str) -> Any:
        return self._look.execute(sqlalchemy.text(query)).scalar()


if __name__ == "__main__":
    {"setup": setup, "worker": work, "client": lambda: serve(Client())}[sys.argv[1]]()
