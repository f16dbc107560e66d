"""A task that the deciding thread carries out itself is not stored as running, unless it goes on for a while."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest

from highway_core.config import Settings
from highway_core.engine.engine import run_workflow
from highway_core.errors import StorageError
from highway_core.lifecycle import RunStatus, TaskStatus
from highway_core.persistence.in_memory import InMemoryPersistenceManager
from highway_core.persistence.manager import RunChanges
from highway_core.persistence.sql_persistence import SQLPersistenceManager
from highway_core.tools.decorators import tool
from tests.waiting import eventually


class Statuses(InMemoryPersistenceManager):
    """Remembers what was stored of each task; ``failing`` lets a save of a running task fail."""

    def __init__(self, failing: bool = False) -> None:
        super().__init__()
        self.stored: dict[str, list[TaskStatus]] = {}
        self.failed = 0
        self._failing = failing

    def save(self, changes: RunChanges) -> None:
        if self._failing and any(task.status is TaskStatus.RUNNING for task in changes.tasks):
            self.failed += 1
            raise StorageError("The disk is full.")
        for task in changes.tasks:
            self.stored.setdefault(task.task_id, []).append(task.status)
        super().save(changes)


def chain(*functions: str) -> dict[str, object]:
    tasks = {
        f"t{number}": {
            "operator_type": "task",
            "function": function,
            "dependencies": [f"t{number - 1}"] if number else [],
        }
        for number, function in enumerate(functions)
    }
    return {"name": "inline", "tasks": tasks}


def test_a_quick_task_is_stored_once_when_it_is_completed() -> None:
    store = Statuses()

    @tool("test.inline.quick")
    def quick() -> str:
        return threading.current_thread().name

    done = run_workflow(chain("test.inline.quick", "test.inline.quick"), persistence_manager=store, settings=Settings())

    assert done["status"] == RunStatus.COMPLETED
    assert done["result"] == threading.current_thread().name, "it was to run on the deciding thread"
    assert store.stored == {"t0": [TaskStatus.COMPLETED], "t1": [TaskStatus.COMPLETED]}


def test_a_long_task_can_be_seen_running_while_it_runs(tmp_path: Path) -> None:
    file = tmp_path / "runs.sqlite3"

    def seen() -> bool:
        with sqlite3.connect(file) as connection:
            rows = connection.execute("SELECT status, attempt, started_at IS NOT NULL FROM tasks").fetchall()
        return rows == [(TaskStatus.RUNNING.value, 1, 1)]

    @tool("test.inline.long")
    def long() -> bool:
        return eventually(seen)

    store = SQLPersistenceManager(db_path=file)
    done = run_workflow(chain("test.inline.long"), persistence_manager=store, settings=Settings())
    store.close()

    assert (done["status"], done["result"]) == (RunStatus.COMPLETED, True)
    with sqlite3.connect(file) as connection:
        assert connection.execute("SELECT status FROM tasks").fetchall() == [(TaskStatus.COMPLETED.value,)]


@pytest.mark.parametrize("times", [1, 2])
def test_a_store_that_fails_meanwhile_hurts_nobody_but_the_view(times: int) -> None:
    store = Statuses(failing=True)

    @tool(f"test.inline.until_failed_{times}")
    def until_failed() -> bool:
        before = store.failed
        return eventually(lambda: store.failed > before)

    functions = [f"test.inline.until_failed_{times}"] * times
    done = run_workflow(chain(*functions), persistence_manager=store, settings=Settings())

    assert (done["status"], done["result"]) == (RunStatus.COMPLETED, True)
    assert store.failed == times
