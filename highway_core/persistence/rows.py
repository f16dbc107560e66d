"""Records to rows and back: the order of values here is the order of columns in ``statements.local``."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from typing import Any

from highway_core.errors import StorageError
from highway_core.lifecycle import RunMode, RunStatus, TaskStatus
from highway_core.persistence.manager import (
    AttemptRecord,
    ResultRecord,
    RunRecord,
    RunUpdate,
    SavedRun,
    TaskColumns,
    TaskRecord,
)
from highway_core.persistence.ordinals import ordinals

Row = tuple[Any, ...]
Stamp = Callable[[datetime | None], Any]
"""A moment as the database stores it."""
Moment = Callable[[Any], datetime]
"""A stored moment, aware and in UTC."""

_TASK_STATUS = {status.value: status for status in TaskStatus}
_TASK_WORD = {status: status.value for status in TaskStatus}
"""Plain strings: SQLite's driver takes those without asking for an adapter, and ``.value`` is slow."""


def storable_text(text: str | None) -> str | None:
    """``text`` without what no database stores: NUL and lone surrogates. Error messages may quote any bytes."""
    if text is None:
        return None
    return text.replace("\0", "�").encode("utf-8", "replace").decode("utf-8")


def json_text(values: Mapping[str, Any], what: str) -> str:
    """``values`` as JSON; StorageError names the first entry that JSON cannot hold."""
    try:
        return json.dumps(dict(values))
    except (TypeError, ValueError, RecursionError):
        for name, value in values.items():
            try:
                json.dumps({name: value})
            except (TypeError, ValueError, RecursionError) as error:
                raise StorageError(f"{what} '{name}' cannot be stored as JSON: {error}") from error
        raise


def run_row(run: RunRecord, stamp: Stamp, now: Any) -> Row:
    return (
        run.run_id,
        run.workflow_name,
        run.mode.value,
        run.status.value,
        run.start_task,
        run.definition_hash,
        json_text(run.variables, "Variable"),
        json_text(run.inputs, "Input"),
        run.parent_run_id,
        stamp(run.started_at),
        run.owner,
        now,
    )


def run_update_row(run_id: str, update: RunUpdate, stamp: Stamp, now: Any) -> Row:
    error = storable_text(update.error_message)
    return (update.status.value, error, update.result_json, stamp(update.ended_at), now, run_id)


def task_rows(run_id: str, tasks: Collection[TaskRecord], stamp: Stamp, now: Any) -> list[Row]:
    return [
        (
            run_id,
            task.task_id,
            *task.columns,
            ordinal,
            stamp(task.created_at),
            now,
            _TASK_WORD[task.status],
            task.attempt,
            stamp(task.started_at),
            stamp(task.completed_at),
            task.error_message and storable_text(task.error_message),
            task.result_json,
            stamp(task.wake_up_at),
            task.progress_json,
        )
        for ordinal, task in zip(ordinals(len(tasks)), tasks, strict=True)
    ]


def attempt_rows(run_id: str, attempts: Iterable[AttemptRecord], stamp: Stamp, now: Any) -> list[Row]:
    return [
        (
            run_id,
            attempt_key(attempt),
            attempt.task_id,
            attempt.attempt,
            attempt.runtime,
            _TASK_WORD[attempt.status],
            stamp(attempt.started_at),
            stamp(attempt.completed_at),
            round((attempt.completed_at - attempt.started_at).total_seconds() * 1000),
            storable_text(attempt.error_message),
            now,
        )
        for attempt in attempts
    ]


def attempt_key(attempt: AttemptRecord) -> str:
    """Unique in the run and the same if the attempt is stored twice: a resumed task may count from one again."""
    return f"{attempt.task_id}#{attempt.attempt}@{attempt.started_at.timestamp():.6f}"


def result_rows(run_id: str, results: Collection[ResultRecord], now: Any) -> list[Row]:
    numbers = ordinals(len(results))
    return [(number, run_id, *result, now) for number, result in zip(numbers, results, strict=True)]


def memory_rows(run_id: str, memory: Mapping[str, str], now: Any) -> list[Row]:
    numbers = ordinals(len(memory))
    return [
        (number, run_id, key, value, now, now) for number, (key, value) in zip(numbers, memory.items(), strict=True)
    ]


def saved_run(run: Row, tasks: Iterable[Row], memory: Iterable[Row], moment: Moment) -> SavedRun:
    """The run that the rows of ``select_run``, ``select_tasks`` and ``select_memory`` hold."""
    record = RunRecord(
        run_id=run[0],
        workflow_name=run[1],
        mode=RunMode(run[2]),
        status=RunStatus(run[3]),
        start_task=run[4],
        definition_hash=run[5] or "",
        definition_json=run[6] or "",
        variables=json.loads(run[7] or "{}"),
        inputs=json.loads(run[8] or "{}"),
        parent_run_id=run[9],
        started_at=moment(run[10]),
        owner=run[11],
    )
    return SavedRun(
        record=record,
        status=record.status,
        error_message=run[12],
        result_json=run[13],
        ended_at=moment(run[14]) if run[14] is not None else None,
        variables=json.loads(run[7] or "{}"),
        memory={key: json.loads(text) for key, text in memory},
        tasks=_tasks(tasks, moment),
    )


def _tasks(rows: Iterable[Row], moment: Moment) -> dict[str, TaskRecord]:
    shared: dict[Row, TaskColumns] = {}
    tasks: dict[str, TaskRecord] = {}
    for row in rows:
        task_id, fixed = row[0], row[1:10]
        columns = shared.get(fixed)
        if columns is None:
            columns = shared[fixed] = TaskColumns(*fixed)
        status, attempt, created, started, completed, error, result, wake_up, progress = row[10:]
        tasks[task_id] = TaskRecord(
            task_id=task_id,
            columns=columns,
            status=_TASK_STATUS[status],
            attempt=attempt,
            created_at=moment(created),
            started_at=None if started is None else moment(started),
            completed_at=None if completed is None else moment(completed),
            error_message=error,
            result_json=result,
            wake_up_at=None if wake_up is None else moment(wake_up),
            progress_json=progress,
        )
    return tasks
