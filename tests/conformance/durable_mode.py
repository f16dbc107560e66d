"""DURABLE mode for the conformance table: real workers and a real Scheduler over a real PostgreSQL, in this process."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg2

from highway_core.config import Settings, normalise_database_url
from highway_core.engine.durable.operations import StartRequest
from highway_core.engine.durable.wiring import durable_services, open_durable
from highway_core.engine.loader import Source, compile_document
from highway_core.lifecycle import RUN_FINAL, RunStatus, TaskStatus
from highway_core.persistence.schema import upgrade
from highway_core.services.scheduler import Scheduler
from highway_core.services.worker import Worker
from highway_core.tools.registry import ToolRegistry
from highway_core.utils.json_values import dumps, loads
from tests.conformance.observed import TOOLS, Case, Observed
from tests.waiting import eventually

ENVIRON = {"HIGHWAY_SECRET_TOKEN": "s3cret", "CITY": "Oslo"}
_SECONDS = 60


class DurableMode:
    """Started once for a module; what is observed is what the tables hold when a run is over."""

    def __init__(self, name: str, url: str, workers: int, home: Path) -> None:
        self.name = name
        self._folder = home / "workflows"
        self._folder.mkdir()
        self._settings = Settings(
            database_url=normalise_database_url(url),
            home=home,
            tools_dir=TOOLS,
            workflows_dir=self._folder,
            environ=ENVIRON,
            env_allowed=("CITY",),
            poll_seconds=1.0,
            secret_key="conformance-secret-key",
        )
        upgrade(self._settings.database_url)
        services = durable_services(self._settings)
        self._tools = ToolRegistry(self._settings)
        self.runs = open_durable(self._settings, services)
        self._connection = psycopg2.connect(url)
        self._connection.autocommit = True
        self.services: list[Any] = [Worker(self._settings) for _ in range(workers)] + [Scheduler(self._settings)]
        self._threads = [threading.Thread(target=one.run, name=f"{type(one).__name__}") for one in self.services]
        for thread in self._threads:
            thread.start()

    def run(self, case: Case) -> Observed:
        for old in self._folder.iterdir():
            old.unlink()
        for number, definition in enumerate(case.definitions):
            (self._folder / f"{number}.json").write_text(dumps(definition), encoding="utf-8")
        compiled, _ = compile_document(Source(case.document, case.name), self._tools, case.inputs)
        run_id = self.runs.start(StartRequest(compiled, case.inputs)).run_id
        assert eventually(lambda: self._is_over(run_id), within=_SECONDS), f"run {run_id} does not end"
        return self.observed(run_id)

    def _is_over(self, run_id: str) -> bool:
        ((status,),) = self.rows("SELECT status FROM workflows WHERE workflow_id = %s", run_id)
        return RunStatus(status) in RUN_FINAL

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """What a statement answers."""
        with self._connection.cursor() as cursor:
            cursor.execute(sql, values or None)
            return cursor.fetchall() if cursor.description else []

    def observed(self, run_id: str) -> Observed:
        """One run, as it is stored."""
        sql = "SELECT status, error_message, result_json, variables_json FROM workflows WHERE workflow_id = %s"
        ((status, error, result, variables),) = self.rows(sql, run_id)
        tasks = self.rows(
            """SELECT task_id, status, error_message, result_value_json, attempt, result_key, scope, operator_type
                 FROM tasks WHERE workflow_id = %s ORDER BY ended_seq""",
            run_id,
        )
        loops = {path: kind for path, *_, kind in tasks}
        memory = self.rows("SELECT memory_key, memory_value_json FROM workflow_memory WHERE workflow_id = %s", run_id)
        completed = [row for row in tasks if row[1] == TaskStatus.COMPLETED]
        return Observed(
            status=status,
            error=error,
            result=None if result is None else loads(result),
            tasks={row[0]: row[1] for row in tasks},
            results={row[5]: loads(row[3]) for row in tasks if row[5] and row[3] and _is_shared(row[6], loops)},
            values={row[0]: loads(row[3] or "null") for row in completed},
            reasons={row[0]: row[2] for row in tasks},
            attempts={row[0]: row[4] for row in tasks},
            memory={key: loads(value) for key, value in memory},
            variables=loads(variables),
        )

    def close(self) -> None:
        for one in self.services:
            one.stop.set()
        for thread in self._threads:
            thread.join(30)
        self.runs.close()
        self._connection.close()


def _is_shared(scope: str, loops: Mapping[str, str]) -> bool:
    """True if the results of that scope are the run's own: it is the root, or an iteration of ``while`` below it."""
    while scope:
        owner = scope[:-2].rpartition("[")[0]
        if loops.get(owner) != "while":
            return False
        scope = owner[: owner.rfind("].") + 2] if "]." in owner else ""
    return True
