"""The statuses of tasks and runs, the arrows between them, and who moves along each arrow.

Read this first. A status only ever moves along ``TASK_MOVES`` / ``RUN_MOVES``; any other move raises
:class:`~highway_core.errors.LifecycleError`. No other module spells a status.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from highway_core.errors import LifecycleError


class RunMode(StrEnum):
    """How a run is carried out; chosen once when it is created."""

    LOCAL = "LOCAL"
    DURABLE = "DURABLE"


class TaskStatus(StrEnum):
    """Where one task instance stands. The strings are the public contract."""

    PENDING = "PENDING"
    """Waits for the answers of its predecessors. Readiness moves it on."""
    QUEUED = "QUEUED"
    """Ready; waits for a free worker. A claim moves it on."""
    RUNNING = "running"
    """An attempt is being carried out. Its outcome moves it on."""
    WAITING_FOR_TIMER = "WAITING_FOR_TIMER"
    """A wait, or the delay before the next attempt. The clock moves it on."""
    WAITING_FOR_EVENT = "WAITING_FOR_EVENT"
    """An approval or a named event. The answer, or the deadline, moves it on."""
    WAITING_FOR_CHILDREN = "WAITING_FOR_CHILDREN"
    """Loop iterations, branches or child runs. The last child to end moves it on."""
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"
    """On a path that was not taken; never started."""
    UPSTREAM_FAILED = "upstream_failed"
    """A predecessor failed and the trigger rule does not forgive it; never started."""
    CANCELLED = "cancelled"


class RunStatus(StrEnum):
    """Where a run stands."""

    PENDING = "PENDING"
    """Created; nobody has looked at it yet. The first decision moves it on."""
    RUNNING = "running"
    PAUSED = "PAUSED"
    """Nothing new starts. The operator moves it on, or the last of what was being carried out."""
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class ApprovalStatus(StrEnum):
    """Where a person's decision stands."""

    PENDING = "PENDING"
    """Asked for. A decision, the clock or the end of the run moves it on."""
    DECIDED = "DECIDED"
    EXPIRED = "EXPIRED"
    """Nobody decided in time."""
    CANCELLED = "CANCELLED"
    """The task or its run ended before."""


class QueueKind(StrEnum):
    """What a row of the durable queue is: an attempt to carry out, or a message to the state of a run."""

    WORK = "work"
    """An attempt of a task, or a task that is to be asked again. Needs a free thread."""
    START = "start"
    """A new run: make its first tasks ready."""
    WAKE = "wake"
    """The moment of a wait has come."""
    RETRY = "retry"
    """The next attempt is due."""
    KEY = "key"
    """The holder of an idempotency key may be done by now."""
    TIMEOUT = "timeout"
    """A task that waits has outlived its timeout."""
    BRANCH_TIMEOUT = "branch_timeout"
    """The branches or iterations of a task have."""
    EVENT = "event"
    """An event that is waited for, or its deadline."""
    APPROVAL = "approval"
    """A person has decided, or has not in time."""
    CHILD = "child"
    """A child run is over; ``child:<branch>``."""
    CANCEL = "cancel"
    """The parent gave this run up."""
    DEADLINE = "deadline"
    """The run has outlived its deadline."""
    ITEMS = "items"
    """Items for a dynamic foreach; ``items:<number>``."""


TASK_FINAL = frozenset(
    {
        TaskStatus.COMPLETED,
        TaskStatus.FAILED,
        TaskStatus.SKIPPED,
        TaskStatus.UPSTREAM_FAILED,
        TaskStatus.CANCELLED,
    }
)
TASK_OPEN = frozenset(TaskStatus) - TASK_FINAL
TASK_WAITING = frozenset({TaskStatus.WAITING_FOR_TIMER, TaskStatus.WAITING_FOR_EVENT, TaskStatus.WAITING_FOR_CHILDREN})
TASK_FAILED = frozenset({TaskStatus.FAILED, TaskStatus.UPSTREAM_FAILED})
"""The final statuses that a successor counts as a failure."""
RUN_FINAL = frozenset({RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED})

_T = TaskStatus
TASK_MOVES: Mapping[TaskStatus, frozenset[TaskStatus]] = MappingProxyType(
    {
        _T.PENDING: frozenset({_T.QUEUED, _T.SKIPPED, _T.UPSTREAM_FAILED, _T.CANCELLED}),
        _T.QUEUED: frozenset({_T.RUNNING, _T.CANCELLED}),
        _T.RUNNING: frozenset({_T.COMPLETED, _T.FAILED, _T.CANCELLED, _T.QUEUED}) | TASK_WAITING,
        _T.WAITING_FOR_TIMER: frozenset({_T.QUEUED, _T.RUNNING, _T.COMPLETED, _T.FAILED, _T.CANCELLED}),
        _T.WAITING_FOR_EVENT: frozenset({_T.RUNNING, _T.COMPLETED, _T.FAILED, _T.CANCELLED}),
        _T.WAITING_FOR_CHILDREN: frozenset({_T.RUNNING, _T.COMPLETED, _T.FAILED, _T.CANCELLED}),
        _T.COMPLETED: frozenset(),
        _T.FAILED: frozenset(),
        _T.SKIPPED: frozenset(),
        _T.UPSTREAM_FAILED: frozenset(),
        _T.CANCELLED: frozenset(),
    }
)
"""``running → QUEUED`` is a lost lease or a resumed run: the attempt died, the task did not."""

_R = RunStatus
RUN_MOVES: Mapping[RunStatus, frozenset[RunStatus]] = MappingProxyType(
    {
        _R.PENDING: frozenset({_R.RUNNING, _R.PAUSED, _R.CANCELLED, _R.FAILED}),
        _R.RUNNING: frozenset({_R.COMPLETED, _R.FAILED, _R.CANCELLED, _R.PAUSED}),
        _R.PAUSED: frozenset({_R.RUNNING, _R.COMPLETED, _R.CANCELLED, _R.FAILED}),
        _R.COMPLETED: frozenset(),
        _R.FAILED: frozenset(),
        _R.CANCELLED: frozenset(),
    }
)

RUN_REOPENABLE = frozenset({RunStatus.FAILED, RunStatus.CANCELLED})
"""The only way out of a final status: an operator resumes the run by its id, which is logged."""


def check_task_move(task_id: str, old: TaskStatus, new: TaskStatus) -> None:
    """Raise LifecycleError unless an arrow leads from ``old`` to ``new``."""
    if new not in TASK_MOVES[old]:
        raise LifecycleError(f"Task '{task_id}' cannot move from {old} to {new}: no such arrow in TASK_MOVES.")


def check_run_move(run_id: str, old: RunStatus, new: RunStatus) -> None:
    """Raise LifecycleError unless an arrow leads from ``old`` to ``new``."""
    if new not in RUN_MOVES[old]:
        raise LifecycleError(f"Run '{run_id}' cannot move from {old} to {new}: no such arrow in RUN_MOVES.")
