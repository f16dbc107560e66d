"""Records of runs for tests of storage, and stores to keep them in (fixtures ``store`` and ``manager``)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from highway_core.lifecycle import RunMode, RunStatus, TaskStatus
from highway_core.persistence.file_storage import FilePersistenceManager
from highway_core.persistence.in_memory import InMemoryPersistenceManager
from highway_core.persistence.manager import (
    AttemptRecord,
    PersistenceManager,
    ResultRecord,
    RunChanges,
    RunRecord,
    RunUpdate,
    SavedRun,
    TaskColumns,
    TaskRecord,
)
from highway_core.persistence.sql_persistence import SQLPersistenceManager

NOW = datetime(2024, 5, 1, 12, 30, 15, 123456, tzinfo=UTC)
COLUMNS = TaskColumns("task", "python", "tools.log.info", None, None, '["hi"]', '{"a":1}', "greeting", '["start"]')
_numbers = count(1)


@dataclass(frozen=True)
class Store:
    """One place to keep runs; every ``open`` is another manager of it."""

    kind: str
    open: Callable[[], PersistenceManager]
    where: str


def make_store(kind: str, folder: Path, postgres_url: str | None = None) -> Store:
    match kind:
        case "sqlite":
            path = folder / "runs.sqlite3"
            return Store(kind, lambda: SQLPersistenceManager(path), str(path))
        case "files":
            return Store(kind, lambda: FilePersistenceManager(folder / "runs"), str(folder / "runs"))
        case "postgresql":
            assert postgres_url is not None
            return Store(kind, lambda: SQLPersistenceManager(engine_url=postgres_url), postgres_url)
        case _:
            memory = InMemoryPersistenceManager()
            return Store(kind, lambda: memory, "memory")


@pytest.fixture(params=["sqlite", "postgresql", "files", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    url = request.getfixturevalue("postgres_url") if request.param == "postgresql" else None
    return make_store(request.param, tmp_path, url)


@pytest.fixture
def manager(store: Store) -> Iterator[PersistenceManager]:
    manager = store.open()
    yield manager
    manager.close()


def reopened(store: Store, manager: PersistenceManager, run_id: str) -> SavedRun:
    """The run as another manager reads it after the first one is closed."""
    manager.close()
    other = store.open()
    try:
        saved = other.load_run(run_id)
        assert saved is not None
        return saved
    finally:
        other.close()


def new_run(run_id: str | None = None, **changes: Any) -> RunRecord:
    record = RunRecord(
        run_id=run_id or f"run-{next(_numbers)}",
        workflow_name="hello",
        mode=RunMode.LOCAL,
        status=RunStatus.RUNNING,
        start_task="start",
        definition_hash="hash-of-hello",
        definition_json='{"name": "hello"}',
        variables={"region": "eu"},
        inputs={"day": "2024-05-01"},
        parent_run_id=None,
        started_at=NOW,
        owner="host:1:1",
    )
    return record._replace(**changes)


def task(task_id: str = "start", status: TaskStatus = TaskStatus.COMPLETED, **changes: Any) -> TaskRecord:
    record = TaskRecord(
        task_id=task_id,
        columns=COLUMNS,
        status=status,
        attempt=1,
        created_at=NOW,
        started_at=NOW + timedelta(seconds=1),
        completed_at=NOW + timedelta(seconds=2),
        error_message=None,
        result_json='{"ok": true}',
        wake_up_at=None,
        progress_json=None,
    )
    return record._replace(**changes)


def attempt(task_id: str = "start", number: int = 1, **changes: Any) -> AttemptRecord:
    record = AttemptRecord(task_id, number, "python", TaskStatus.FAILED, NOW, NOW + timedelta(seconds=1), "no")
    return record._replace(**changes)


_text = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)
_names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)
_moments = st.integers(0, 2**62).map(lambda number: NOW + timedelta(microseconds=number % 10**15))
_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | _text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_text, inner, max_size=3),
    max_leaves=6,
)
_documents = st.dictionaries(_names, _values, max_size=4)
_json = st.sampled_from(['{"a": 1}', "null", '"\\u0000\\ud800"', "[]", "1e400", '{"b":\n2}', '"ü"'])
_columns = st.builds(TaskColumns, _names, *[st.none() | _text] * 3, *[st.none() | _json] * 3, st.none() | _names, _json)
# Few ids, so that saves meet.
_task_ids = st.sampled_from(["a", "b", "loop", "loop[0].a", "loop[1].a", "Ünï", "x" * 300])
_tasks = st.builds(
    TaskRecord,
    task_id=_task_ids,
    columns=_columns,
    status=st.sampled_from(TaskStatus),
    attempt=st.integers(0, 1000),
    created_at=_moments,
    started_at=st.none() | _moments,
    completed_at=st.none() | _moments,
    error_message=st.none() | _text,
    result_json=st.none() | _json,
    wake_up_at=st.none() | _moments,
    progress_json=st.none() | _json,
)
_attempts = st.builds(
    AttemptRecord,
    _task_ids,
    st.integers(1, 3),
    st.just("python"),
    st.sampled_from(TaskStatus),
    _moments,
    _moments,
    st.none() | _text,
)

runs = st.builds(
    RunRecord,
    run_id=st.just(""),
    workflow_name=_names,
    mode=st.sampled_from(RunMode),
    status=st.sampled_from(RunStatus),
    start_task=st.none() | _names,
    definition_hash=st.just(""),
    definition_json=_json,
    variables=_documents,
    inputs=_documents,
    parent_run_id=st.none() | _names,
    started_at=_moments,
    owner=_names,
).map(lambda run: run._replace(run_id=f"run-{next(_numbers)}", definition_hash=f"hash of {run.definition_json}"))
"""Each with an id of its own; a definition's hash follows from its text."""
updates = st.builds(RunUpdate, st.sampled_from(RunStatus), st.none() | _text, st.none() | _json, st.none() | _moments)
changes = st.builds(
    RunChanges,
    run_id=st.just(""),
    tasks=st.lists(_tasks, max_size=4),
    attempts=st.lists(_attempts, max_size=2),
    results=st.lists(st.builds(ResultRecord, _task_ids, _names, st.sampled_from(["1", "[]"])), max_size=3),
    memory=st.dictionaries(_names, _values.map(json.dumps), max_size=3),
    variables=st.none() | _documents,
    run=st.none() | updates,
)
