"""Highway in LOCAL mode: every task is saved to a SQLite file, and counted there afterwards."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path

from shapes import Graph, report

from highway_core.config import Settings
from highway_core.engine.engine import LocalEngine
from highway_core.engine.graph import CompiledWorkflow
from highway_core.engine.loader import read_source
from highway_core.persistence.sql_persistence import SQLPersistenceManager
from highway_core.tools.decorators import tool


@tool("benchmark.noop")
def noop() -> None:
    pass


class Bench:
    def __init__(self, file: Path) -> None:
        self._file = file
        self.tasks = 0

    def prepare(self, graph: Graph) -> tuple[Callable[[], None], Callable[[], None]]:
        self.tasks += len(graph)
        tasks = {
            name: {"operator_type": "task", "function": "benchmark.noop", "dependencies": before}
            for name, before in graph.items()
        }
        store = SQLPersistenceManager(db_path=self._file)
        engine = LocalEngine(Settings(), store)
        workflow = engine.compile(read_source({"name": "benchmark", "tasks": tasks}))
        return lambda: self.run(engine, workflow), store.close

    def run(self, engine: LocalEngine, workflow: CompiledWorkflow) -> None:
        run = engine.orchestrator(workflow).run()
        assert run.status == "completed", run.error

    def check(self) -> None:
        """Every task and every attempt is in the file."""
        with sqlite3.connect(self._file) as connection:
            for table in ("tasks", "task_executions"):
                query = f"SELECT count(*) FROM {table} WHERE status = 'completed'"
                assert connection.execute(query).fetchone() == (self.tasks,), table


with tempfile.TemporaryDirectory() as folder:
    bench = Bench(Path(folder) / "runs.sqlite3")
    report(bench.prepare)
    bench.check()
