"""What a LOCAL run writes down: rows for the next commit, made from the instances that changed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from highway_core.engine.graph import Node
from highway_core.engine.models import CallOperatorModel
from highway_core.engine.run import Run
from highway_core.engine.run_state import Instance
from highway_core.lifecycle import TaskStatus
from highway_core.persistence.manager import (
    AttemptRecord,
    ResultRecord,
    RunChanges,
    RunUpdate,
    TaskColumns,
    TaskRecord,
)
from highway_core.utils.json_values import dumps

_LEAVES_RESULT = frozenset({TaskStatus.COMPLETED, TaskStatus.SKIPPED})
"""A skipped task leaves one only where it takes back what an earlier iteration left."""


class RunRecorder:
    """Collects the changes of one run until the next commit."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._changed: list[Instance] = []
        self._columns: dict[int, TaskColumns] = {}
        self._changes = RunChanges(run.run_id)

    @property
    def size(self) -> int:
        """How many instances have changed."""
        return len(self._changed)

    def changed(self, instance: Instance) -> None:
        """The row of ``instance`` is to be written with the next commit, as it stands then."""
        if not instance.dirty:
            instance.dirty = True
            self._changed.append(instance)

    def snapshot(self, instance: Instance) -> RunChanges:
        """The row of ``instance`` as it stands now, for a commit of its own."""
        return RunChanges(self._run.run_id, tasks=[self._record(instance)])

    def attempt(self, instance: Instance, status: TaskStatus, now: datetime, error: str | None) -> None:
        """One attempt is over."""
        started = instance.started_at or now
        runtime = self._columns_of(instance.node).runtime or instance.node.task.operator_type
        self._changes.attempts.append(
            AttemptRecord(instance.path, instance.attempt, runtime, status, started, now, error)
        )

    def variables(self) -> None:
        """The run's variables have changed."""
        self._changes.variables = self._run.variables

    def idempotent(self, key: str, result_json: str) -> None:
        """Later executions with ``key`` return this result."""
        self._changes.idempotent[key] = result_json

    def ended(self, now: datetime) -> None:
        """The run is over."""
        run = self._run
        self._changes.run = RunUpdate(run.status, run.error, dumps(run.result), now)

    def take(self) -> RunChanges:
        """Everything since the last commit; collecting starts anew."""
        changes = self._changes
        for instance in self._changed:
            instance.dirty = False
            changes.tasks.append(self._record(instance))
            key = instance.node.task.result_key
            if key is not None and instance.result_text is not None and instance.status in _LEAVES_RESULT:
                changes.results.append(ResultRecord(instance.path, key, instance.result_text))
        memory = self._run.memory
        if memory.changed:
            changes.memory = {key: dumps(memory.get(key)) for key in memory.changed}
            memory.changed.clear()
        self._changed = []
        self._changes = RunChanges(self._run.run_id)
        return changes

    def _record(self, instance: Instance) -> TaskRecord:
        return TaskRecord(
            instance.path,
            self._columns_of(instance.node),
            instance.status,
            instance.attempt,
            instance.created_at,
            instance.started_at,
            instance.completed_at,
            instance.error,
            instance.result_text,
            instance.wake_at,
            progress_of(instance, {}),
        )

    def _columns_of(self, node: Node) -> TaskColumns:
        key = id(node)
        columns = self._columns.get(key)
        if columns is None:
            columns = self._columns[key] = task_columns(node)
        return columns


def task_columns(node: Node) -> TaskColumns:
    """The part of a task's row that the document fixes."""
    task = node.task
    dependencies = dumps(task.dependencies) if task.dependencies else "[]"
    if not isinstance(task, CallOperatorModel):
        return TaskColumns(task.operator_type, None, None, None, None, None, None, task.result_key, dependencies)
    return TaskColumns(
        task.operator_type,
        task.runtime,
        task.function,
        task.image,
        None if task.command is None else dumps(task.command),
        dumps(task.args) if task.args else "[]",
        dumps(task.kwargs) if task.kwargs else "{}",
        task.result_key,
        dependencies,
    )


def progress_of(instance: Instance, more: Mapping[str, Any]) -> str | None:
    """What a resumed run needs to know of this task: the arms it took, how far its loop was, and ``more``."""
    left: dict[str, Any] = dict(more)
    if instance.taken is not None:
        left["taken"] = sorted(instance.taken)
    progress = instance.progress
    # The results of a while belong to the run: how many iterations left some must be known even when it is completed.
    if progress and (instance.status is not TaskStatus.COMPLETED or "iteration" in progress):
        left["progress"] = progress
    return dumps(left) if left else None
