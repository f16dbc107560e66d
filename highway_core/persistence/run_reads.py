"""Runs as people and clients read them: one run, its tasks, its history, and lists of runs. Writes nothing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from highway_core.errors import RunNotFoundError
from highway_core.lifecycle import RUN_FINAL, RunMode, RunStatus, TaskStatus
from highway_core.persistence.durable_connection import ConnectionPool
from highway_core.persistence.statements import reads as sql


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run."""

    run_id: str
    workflow_name: str
    mode: RunMode
    status: RunStatus
    created_at: datetime
    ended_at: datetime | None
    updated_at: datetime
    error_message: str | None
    result_json: str | None = field(repr=False)
    definition_hash: str | None
    parent_run_id: str | None
    parent_task_id: str | None
    created_by: str | None
    queue: str
    priority: int
    schedule_id: str | None
    slot: datetime | None
    tags_json: str | None = None

    @property
    def is_over(self) -> bool:
        return self.status in RUN_FINAL

    @property
    def result(self) -> Any:
        return None if self.result_json is None else json.loads(self.result_json)

    @property
    def tags(self) -> list[str]:
        tags: list[str] = json.loads(self.tags_json or "[]")
        return tags


@dataclass(frozen=True, slots=True)
class TaskRow:
    """One task instance. A task that nobody has touched yet has no row and is PENDING."""

    task_id: str
    operator_type: str
    status: TaskStatus
    attempt: int = 0
    created_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    error_message: str | None = None
    wake_up_at: datetime | None = None
    result_key: str | None = None
    function: str | None = None
    worker_id: str | None = None


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One transition."""

    seq: int
    at: datetime
    kind: str
    task_id: str
    from_task: str | None
    attempt: int | None
    worker_id: str | None
    detail: str | None


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs a list holds."""

    status: RunStatus | None = None
    workflow_name: str | None = None
    since: datetime | None = None
    parent: str | None = None
    tag: str | None = None
    mode: RunMode = RunMode.DURABLE


@dataclass(frozen=True, slots=True)
class RunPosition:
    """Where a page of a list of runs ends."""

    created_at: datetime
    run_id: str


@dataclass(frozen=True, slots=True)
class Backlog:
    """How the work is going."""

    oldest_claimable_seconds: float
    live_workers: int


class RunReads:
    """Reads of one database. Thread-safe."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool

    def run(self, run_id: str) -> RunRow:
        """RunNotFoundError if there is no such run."""
        rows = self._fetch(sql.SELECT_RUN, (run_id,))
        if not rows:
            raise RunNotFoundError(f"There is no run '{run_id}'.")
        return _run(rows[0])

    def runs(self, which: RunFilter, limit: int, after: RunPosition | None = None) -> list[RunRow]:
        """The newest first; ``after`` is where the page before ended."""
        asked = {"status": which.status, "name": which.workflow_name, "since": which.since}
        asked |= {"parent": which.parent, "tag": which.tag}
        filters = {name: value for name, value in asked.items() if value is not None}
        statement = sql.select_runs(filters, after=after is not None)
        values: list[Any] = [which.mode.value, *filters.values()]
        if after is not None:
            values += [after.created_at, after.created_at, after.run_id]
        return [_run(row) for row in self._fetch(statement, (*values, limit))]

    def statuses(self, run_ids: Iterable[str]) -> Mapping[str, RunStatus]:
        """Where those runs stand that exist."""
        return {run_id: RunStatus(status) for run_id, status in self._fetch(sql.SELECT_STATUSES, (list(run_ids),))}

    def inputs_and_variables(self, run_id: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """RunNotFoundError if there is no such run."""
        rows = self._fetch(sql.SELECT_VALUES, (run_id,))
        if not rows:
            raise RunNotFoundError(f"There is no run '{run_id}'.")
        inputs, variables = rows[0]
        return json.loads(inputs or "{}"), json.loads(variables or "{}")

    def definition(self, definition_hash: str) -> str | None:
        """The document as canonical JSON."""
        rows = self._fetch(sql.SELECT_DEFINITION, (definition_hash,))
        return str(rows[0][0]) if rows else None

    def newest_definition(self, workflow_name: str) -> tuple[str, str] | None:
        """Hash and document of the definition of that name that was stored last."""
        rows = self._fetch(sql.SELECT_NEWEST_DEFINITION, (workflow_name,))
        return (rows[0][0], rows[0][1]) if rows else None

    def tasks(self, run_id: str, limit: int, offset: int = 0) -> list[TaskRow]:
        """In the order in which they came to be; those that nobody has touched yet are not among them."""
        return [_task(row) for row in self._fetch(sql.SELECT_TASKS, (run_id, limit, offset))]

    def task(self, run_id: str, task_id: str) -> TaskRow | None:
        """One task, if somebody has touched it."""
        rows = self._fetch(sql.SELECT_TASK, (run_id, task_id))
        return _task(rows[0]) if rows else None

    def task_result(self, run_id: str, task_id: str) -> Any:
        """What a task left; None if nothing."""
        rows = self._fetch(sql.SELECT_TASK_RESULT, (run_id, task_id))
        return json.loads(rows[0][0]) if rows and rows[0][0] is not None else None

    def outer_task_ids(self, run_id: str) -> frozenset[str]:
        """Every task outside all loops that has a row."""
        return frozenset(row[0] for row in self._fetch(sql.SELECT_OUTER_TASK_IDS, (run_id,)))

    def task_counts(self, run_id: str) -> Mapping[TaskStatus, int]:
        """How many tasks stand where; those without a row do not count."""
        return {TaskStatus(status): int(count) for status, count in self._fetch(sql.COUNT_TASKS, (run_id,))}

    def open_tasks(self, run_id: str, limit: int) -> list[TaskRow]:
        """Tasks that are queued, at work or waiting."""
        return [_task(row) for row in self._fetch(sql.SELECT_OPEN_TASKS, (run_id, limit))]

    def history(self, run_id: str, limit: int, after: int = 0) -> list[HistoryEntry]:
        """Transitions with a number above ``after``."""
        return [HistoryEntry(*row) for row in self._fetch(sql.SELECT_HISTORY, (run_id, after, limit))]

    def backlog(self, alive_seconds: float) -> Backlog:
        """``alive_seconds``: how long ago a worker may have been seen and still count."""
        seconds, workers = self._fetch(sql.SELECT_BACKLOG, (TaskStatus.QUEUED.value, alive_seconds))[0]
        return Backlog(max(float(seconds), 0.0), int(workers))

    def _fetch(self, statement: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        with self._pool.connection() as connection:
            return connection.fetch(statement, values)


def _run(row: tuple[Any, ...]) -> RunRow:
    run_id, name, mode, status, *rest = row
    return RunRow(run_id, name, RunMode(mode), RunStatus(status), *rest)


def _task(row: tuple[Any, ...]) -> TaskRow:
    task_id, operator_type, status, *rest = row
    return TaskRow(task_id, operator_type, TaskStatus(status), *rest)
