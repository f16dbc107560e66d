"""Workers and a Scheduler in this process over a real PostgreSQL, with the tools of ``data/worker_tools``."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from highway_core.config import Settings, normalise_database_url
from highway_core.engine.durable.operations import DurableRuns, StartRequest
from highway_core.engine.durable.wiring import open_durable
from highway_core.engine.loader import Source, compile_document
from highway_core.lifecycle import RUN_FINAL, RunStatus
from highway_core.persistence.durable_connection import ConnectionPool
from highway_core.persistence.limit_store import LimitStore
from highway_core.services.scheduler import Scheduler
from highway_core.services.worker import Worker
from highway_core.tools.registry import ToolRegistry
from tests.waiting import eventually

TOOLS = Path(__file__).parent / "data" / "worker_tools"
KEY = "the key of the workers' tests"


class Workers:
    """``settings`` is that of the processes; each worker has a home of its own."""

    def __init__(self, url: str, home: Path, amount: int, **settings: Any) -> None:
        self.settings = Settings(
            database_url=normalise_database_url(url), home=home, tools_dir=TOOLS, secret_key=KEY, **settings
        )
        self.pool = ConnectionPool(url)
        self.limits = LimitStore(self.pool)
        self.runs: DurableRuns = open_durable(self.settings)
        self._tools = ToolRegistry(self.settings)
        self.workers = [Worker(self.settings) for _ in range(amount)]
        self._services: list[Any] = [*self.workers, Scheduler(self.settings)]
        self._threads = [threading.Thread(target=one.run) for one in self._services]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def submit(self, tasks: Mapping[str, Any], name: str = "measured", queue: str = "default", **rest: Any) -> str:
        """The id of a run that has been started."""
        compiled, _ = compile_document(Source({"name": name, "tasks": dict(tasks), **rest}, name), self._tools, {})
        return self.runs.start(StartRequest(compiled, queue=queue)).run_id

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        with self.pool.connection() as connection:
            return connection.fetch(sql, values)

    def statuses(self, *run_ids: str) -> list[str]:
        found = dict(self.rows("SELECT workflow_id, status FROM workflows WHERE workflow_id = ANY (%s)", list(run_ids)))
        return [found[run_id] for run_id in run_ids]

    def ended(self, *run_ids: str, within: float = 60.0) -> list[str]:
        """The statuses of the runs, all of which end."""
        assert eventually(lambda: all(RunStatus(one) in RUN_FINAL for one in self.statuses(*run_ids)), within=within)
        return self.statuses(*run_ids)

    def stop(self) -> None:
        for one in self._services:
            one.stop.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(30)
        self.runs.close()
        self.pool.close()


@contextmanager
def workers(url: str, home: Path, amount: int, **settings: Any) -> Iterator[Workers]:
    """Running ones."""
    opened = Workers(url, home, amount, **settings)
    try:
        opened.start()
        yield opened
    finally:
        opened.stop()


def held(name: str, seconds: float = 0.02) -> dict[str, Any]:
    """A task whose tool holds its thread."""
    return {"operator_type": "task", "function": "test.held", "args": [name, seconds]}
