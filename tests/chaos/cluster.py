"""Services with short leases over one database, the effects of their tasks, and the database itself."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg2

from highway_core.config import Settings, normalise_database_url
from highway_core.engine.durable.operations import DurableRuns, StartRequest
from highway_core.engine.durable.wiring import durable_services, open_durable
from highway_core.engine.loader import Source, compile_document
from highway_core.lifecycle import RUN_FINAL
from highway_core.tools.registry import ToolRegistry
from tests.acceptance.services import Services
from tests.chaos.ledger import Ledger
from tests.waiting import eventually

TOOLS = Path(__file__).parents[1] / "data" / "tools"
LEASE = 2.0
_FINAL = [status.value for status in RUN_FINAL]


class Cluster:
    """``services_url`` is where the services find the database, if that is not ``url``: behind a proxy."""

    def __init__(self, folder: Path, url: str, services_url: str | None = None, **environ: str) -> None:
        self.url = url
        self.folder = folder
        self.services = Services(folder, services_url or url)
        self.services.environ |= {
            "HIGHWAY_TOOLS_DIR": str(TOOLS),
            "HIGHWAY_LEASE_SECONDS": str(LEASE),
            "HIGHWAY_CONCURRENCY": "4",
            "HIGHWAY_GRACE_SECONDS": "10",
        } | environ
        self.ledger = Ledger(folder)
        home = folder / "home"
        home.mkdir(exist_ok=True)
        settings = Settings(database_url=normalise_database_url(url), home=home, tools_dir=TOOLS, secret_key="chaos")
        self.registry = ToolRegistry(settings)
        self.runs: DurableRuns = open_durable(settings, durable_services(settings))
        self._local = threading.local()
        self._connections: list[Any] = []

    def submit(self, tasks: Mapping[str, Any], run_id: str | None = None, **more: Any) -> str:
        """Start a run of these tasks; its id."""
        document = {"name": more.pop("name", "chaos"), "tasks": tasks, **more}
        compiled, _ = compile_document(Source(document, "chaos"), self.registry)
        return self.runs.start(StartRequest(compiled, run_id=run_id)).run_id

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """What a statement answers, straight from the database; it may have been killed since the last one."""
        try:
            return self._rows(sql, values)
        except psycopg2.Error as error:
            if error.pgcode is not None and not error.pgcode.startswith("57"):
                raise
            self._local.connection.close()
            return self._rows(sql, values)

    def _rows(self, sql: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        with self.connection().cursor() as cursor:
            cursor.execute(sql, values or None)
            return cursor.fetchall() if cursor.description else []

    def value(self, sql: str, *values: Any) -> Any:
        rows = self.rows(sql, *values)
        return rows[0][0] if rows else None

    def connection(self) -> Any:
        """One of the calling thread's own, opened again where it was lost."""
        held = getattr(self._local, "connection", None)
        if held is None or held.closed:
            held = self._local.connection = self.connect()
        return held

    def connect(self) -> Any:
        connection = psycopg2.connect(self.url)
        connection.autocommit = True
        self._connections.append(connection)
        return connection

    def status(self, run_id: str) -> str:
        return str(self.value("SELECT status FROM workflows WHERE workflow_id = %s", run_id))

    def task(self, run_id: str, path: str) -> tuple[str, int]:
        """Status and attempt; ``("", 0)`` if it has no row yet."""
        found = self.rows("SELECT status, attempt FROM tasks WHERE workflow_id = %s AND task_id = %s", run_id, path)
        return found[0] if found else ("", 0)

    def counter(self, name: str) -> int:
        return int(self.value("SELECT value FROM counters WHERE name = %s", name) or 0)

    def open_runs(self) -> int:
        return int(self.value("SELECT count(*) FROM workflows WHERE status <> ALL (%s)", _FINAL))

    def over(self, *run_ids: str, within: float = 60) -> list[str]:
        """Wait for the ends of these runs, or of all; their statuses."""

        def count() -> bool:
            return not self.rows(
                "SELECT 1 FROM workflows WHERE status <> ALL (%s) AND (%s OR workflow_id = ANY (%s)) LIMIT 1",
                _FINAL,
                not run_ids,
                list(run_ids),
            )

        assert eventually(count, within=within), f"{self.unfinished()}\n{self.services.logs()}"
        return [self.status(one) for one in run_ids]

    def unfinished(self) -> str:
        """Everything about what is not over, for a message."""
        runs = self.rows("SELECT workflow_id, status FROM workflows WHERE status <> ALL (%s) LIMIT 10", _FINAL)
        queue = self.rows(
            """SELECT workflow_id, task_id, kind, status, worker_id, lease_until - clock_timestamp()
                 FROM task_queue LIMIT 30"""
        )
        tasks = self.rows(
            """SELECT workflow_id, task_id, status, attempt, fence FROM tasks
                WHERE completed_at IS NULL AND node IS NOT NULL LIMIT 30"""
        )
        return "\n".join(["not over:", *map(str, runs), "queue:", *map(str, queue), "tasks:", *map(str, tasks)])

    def begun(self, run: str | None = None, task: str | None = None, times: int = 1, within: float = 30) -> bool:
        """Wait until effects have happened."""
        return eventually(lambda: self.ledger.count(run, task) >= times, within=within)

    def open_gate(self, name: str) -> None:
        (self.folder / f"gate-{name}").touch()

    def workers_up(self, count: int = 1) -> None:
        """Wait until so many workers have said that they are there."""
        there = "SELECT count(*) FROM workers WHERE service = 'worker'"
        assert eventually(lambda: self.value(there) >= count, within=60), self.services.logs()

    def schedulers_up(self, count: int = 1) -> None:
        there = "SELECT count(*) FROM workers WHERE service = 'scheduler'"
        assert eventually(lambda: self.value(there) >= count, within=60), self.services.logs()

    def close(self) -> None:
        self.services.close()
        self.runs.close()
        for one in self._connections:
            one.close()


def effect(*after: str, tool: str = "chaos.effect", **kwargs: Any) -> dict[str, Any]:
    """A task that comes after others, and notes down what it sees of them."""
    seen = {one: f"{{{{{one}}}}}" for one in after}
    arguments = {"seen": seen, **kwargs} if after and tool in {"chaos.effect", "chaos.hold"} else kwargs
    return {"operator_type": "task", "function": tool, "kwargs": arguments, "dependencies": list(after)}
