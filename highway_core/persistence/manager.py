"""What the engine asks of a store of LOCAL runs, and the records that cross that line.

One :class:`RunChanges` is one transaction: everything in it is stored, or nothing is. Times are aware datetimes in
UTC; values that end in ``_json`` are JSON text that the engine has already checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from highway_core.lifecycle import RunMode, RunStatus, TaskStatus


class TaskColumns(NamedTuple):
    """The part of a task row that the document fixes; made once a node and shared by all its instances."""

    operator_type: str
    runtime: str | None
    function: str | None
    image: str | None
    command_json: str | None
    args_json: str | None
    kwargs_json: str | None
    result_key: str | None
    dependencies_json: str


class TaskRecord(NamedTuple):
    """One task instance as it stands now; the store inserts it or overwrites what it had."""

    task_id: str
    """The instance's path, unique in the run."""
    columns: TaskColumns
    status: TaskStatus
    attempt: int
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    error_message: str | None
    """Why it failed; for a skipped task, why it was skipped."""
    result_json: str | None
    wake_up_at: datetime | None
    progress_json: str | None
    """What the handler needs to be asked again after a crash: the items of a loop, the arms that were taken."""


class AttemptRecord(NamedTuple):
    """One attempt that is over."""

    task_id: str
    attempt: int
    runtime: str
    status: TaskStatus
    started_at: datetime
    completed_at: datetime
    error_message: str | None


class ResultRecord(NamedTuple):
    """A result under its ``result_key``. ``task_id`` is the instance's path, so iterations do not collide."""

    task_id: str
    result_key: str
    value_json: str


class RunRecord(NamedTuple):
    """A run when it is created."""

    run_id: str
    workflow_name: str
    mode: RunMode
    status: RunStatus
    start_task: str | None
    definition_hash: str
    definition_json: str
    variables: Mapping[str, Any]
    inputs: Mapping[str, Any]
    parent_run_id: str | None
    started_at: datetime
    owner: str
    """The process that drives it, ``host:pid:start-time``; see ``utils.processes``."""


class RunUpdate(NamedTuple):
    """New values of the run's own row."""

    status: RunStatus
    error_message: str | None = None
    result_json: str | None = None
    ended_at: datetime | None = None


@dataclass(slots=True)
class RunChanges:
    """Everything that one commit stores of one run."""

    run_id: str
    tasks: list[TaskRecord] = field(default_factory=list)
    attempts: list[AttemptRecord] = field(default_factory=list)
    results: list[ResultRecord] = field(default_factory=list)
    memory: dict[str, str] = field(default_factory=dict)
    """Memory key → JSON text of its new value."""
    variables: dict[str, Any] | None = None
    """All variables of the run, if any changed."""
    idempotent: dict[str, str] = field(default_factory=dict)
    """Idempotency key → JSON text of the result that later executions return."""
    run: RunUpdate | None = None

    @property
    def empty(self) -> bool:
        return not (self.tasks or self.attempts or self.results or self.memory or self.idempotent or self.run) and (
            self.variables is None
        )


@dataclass(frozen=True, slots=True)
class SavedRun:
    """A stored run, whole."""

    record: RunRecord
    status: RunStatus
    error_message: str | None
    result_json: str | None
    ended_at: datetime | None
    variables: dict[str, Any]
    memory: dict[str, Any]
    tasks: dict[str, TaskRecord]
    """Instance path → row, in order of creation."""


@dataclass(slots=True)
class SavedState:
    """The values of a run as ``load_workflow_state`` hands them out."""

    variables: dict[str, Any] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)
    memory: dict[str, Any] = field(default_factory=dict)
    loop_context: dict[str, Any] = field(default_factory=dict)

    def get_result(self, key: str) -> Any:
        return self.results.get(key)

    def get_variable(self, key: str) -> Any:
        return self.variables.get(key)


class PersistenceManager(Protocol):
    """A store of LOCAL runs. Every method raises StorageError when the store cannot be reached or written."""

    def create_run(self, run: RunRecord) -> None:
        """Store a new run; RunConflictError if the id is taken."""
        ...

    def take_over(self, run_id: str, expected_owner: str, owner: str, status: RunStatus) -> None:
        """Make ``owner`` the one process that drives the run and set ``status``, clearing error and end.

        Compare-and-set on ``expected_owner``; RunConflictError if somebody else was faster.
        """
        ...

    def load_run(self, run_id: str) -> SavedRun | None:
        """The whole run, or None."""
        ...

    def save(self, changes: RunChanges) -> None:
        """Store all of ``changes`` in one transaction, on the calling thread."""
        ...

    def find_idempotent(self, key: str) -> str | None:
        """The JSON text of the result that was stored under an idempotency key, or None."""
        ...

    def load_workflow_state(self, run_id: str) -> tuple[SavedState | None, set[str]]:
        """The values and the ids of the completed tasks; ``(None, set())`` for an unknown run."""
        ...

    def close(self) -> None:
        """Release what this manager holds; nothing that another manager uses."""
        ...
