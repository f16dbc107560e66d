"""One run held in memory: what the stores without a database keep, and how changes are applied to it."""

from __future__ import annotations

import json

from highway_core.lifecycle import RunStatus
from highway_core.persistence.manager import (
    AttemptRecord,
    ResultRecord,
    RunChanges,
    RunRecord,
    RunUpdate,
    SavedRun,
    TaskRecord,
)
from highway_core.persistence.rows import attempt_key, json_text, storable_text


class RunImage:
    """Values are kept as JSON text, so that nobody outside holds a part of them."""

    def __init__(self, record: RunRecord) -> None:
        self.record = record._replace(variables={}, inputs={})
        self._inputs = json_text(record.inputs, "Input")
        self._variables = json_text(record.variables, "Variable")
        self._update = RunUpdate(record.status)
        self._tasks: dict[str, TaskRecord] = {}
        self._attempts: dict[str, AttemptRecord] = {}
        self._results: dict[tuple[str, str], ResultRecord] = {}
        self._memory: dict[str, str] = {}

    @property
    def results(self) -> list[ResultRecord]:
        """In the order in which they were first stored."""
        return list(self._results.values())

    def take_over(self, owner: str, status: RunStatus) -> None:
        self.record = self.record._replace(owner=owner)
        self._update = RunUpdate(status)

    def apply(self, changes: RunChanges) -> None:
        """All of ``changes``, or none: what can fail comes first. Applying them twice is applying them once."""
        variables = None if changes.variables is None else json_text(changes.variables, "Variable")
        for task in changes.tasks:
            self._tasks[task.task_id] = self._with_fixed_part(task)
        for attempt in changes.attempts:
            cleaned = attempt._replace(error_message=storable_text(attempt.error_message))
            self._attempts.setdefault(attempt_key(attempt), cleaned)
        for result in changes.results:
            self._results[result.task_id, result.result_key] = result
        self._memory.update(changes.memory)
        if variables is not None:
            self._variables = variables
        if changes.run is not None:
            self._update = changes.run._replace(error_message=storable_text(changes.run.error_message))

    def saved(self) -> SavedRun:
        update = self._update
        return SavedRun(
            record=self.record._replace(
                status=update.status,
                variables=json.loads(self._variables),
                inputs=json.loads(self._inputs),
            ),
            status=update.status,
            error_message=update.error_message,
            result_json=update.result_json,
            ended_at=update.ended_at,
            variables=json.loads(self._variables),
            memory={key: json.loads(text) for key, text in self._memory.items()},
            tasks=dict(self._tasks),
        )

    def as_changes(self) -> RunChanges:
        """Everything that happened to the run since it was created, as one change."""
        return RunChanges(
            run_id=self.record.run_id,
            tasks=list(self._tasks.values()),
            attempts=list(self._attempts.values()),
            results=self.results,
            memory=dict(self._memory),
            variables=json.loads(self._variables),
            run=self._update,
        )

    def _with_fixed_part(self, task: TaskRecord) -> TaskRecord:
        """What the document fixes, and the time of creation, stay as they were first stored."""
        first = self._tasks.get(task.task_id, task)
        return task._replace(
            columns=first.columns, created_at=first.created_at, error_message=storable_text(task.error_message)
        )
