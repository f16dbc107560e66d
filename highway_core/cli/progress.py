"""Tasks as reports show them, and what a display of a run needs to know of it, in whichever mode it goes on."""

from __future__ import annotations

from collections import Counter
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from highway_core.lifecycle import TASK_FINAL, TaskStatus


@dataclass(slots=True)
class TaskLine:
    """One task instance as reports show it."""

    label: str
    """Its path; for a task of a child run with that run's name in front."""
    path: str
    operator_type: str
    status: TaskStatus = TaskStatus.PENDING
    attempt: int = 0
    started_at: datetime | None = None
    """When its first attempt began."""
    ended_at: datetime | None = None
    wake_at: datetime | None = None
    error: str | None = None
    """Why it failed, or why it was skipped."""
    own: bool = True
    """False: it belongs to a child run."""
    may_retry: bool = False
    """True if a retry policy, its own or the workflow's, is for it."""
    done_before: bool = False
    """It was completed before this process took the run up."""

    @property
    def seconds(self) -> float | None:
        """How long it took, waiting between attempts included; None if it never started or was done before."""
        if self.started_at is None or self.ended_at is None or self.done_before:
            return None
        return max(0.0, (self.ended_at - self.started_at).total_seconds())

    @property
    def is_over(self) -> bool:
        return self.status in TASK_FINAL


class RunView(Protocol):
    """What a display reads of a run while it goes on; whoever writes it does so on another thread."""

    open: dict[tuple[str, str], TaskLine]
    """Tasks that have begun and not ended."""
    unsuccessful: list[TaskLine]
    began: datetime

    @property
    def has_begun(self) -> bool: ...

    @property
    def done(self) -> int:
        """Tasks that ended."""
        ...

    @property
    def total(self) -> int:
        """Those that there will be, as far as is known: loops make more."""
        ...


class Ended(Protocol):
    """What a report reads of the tasks of a run."""

    counts: Counter[TaskStatus]
    """Ended tasks, by status."""
    ended: list[TaskLine]
    unsuccessful: list[TaskLine]

    @property
    def done(self) -> int: ...


class Progress(Protocol):
    """Shows a run while it goes on."""

    def task_changed(self, line: TaskLine) -> None:
        """A task has a new status; on the deciding thread."""
        ...

    def showing(self, log: RunView) -> AbstractContextManager[None]:
        """Entered while the run goes on."""
        ...


class NoProgress:
    """Shows nothing."""

    def task_changed(self, line: TaskLine) -> None:
        """Nothing to show."""

    def showing(self, _log: RunView) -> AbstractContextManager[None]:
        return nullcontext()
