"""A run as a whole: its rows, the tasks of its document that nobody has touched yet, and what it is waiting for.

A task gets its row when it is first queued, parked or ended. Those without one are PENDING and come from the document,
which is compiled once for each content hash.
"""

from __future__ import annotations

import json
import re
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from highway_core.engine.loader import EVERY_NAME, Source, compile_document
from highway_core.lifecycle import TASK_OPEN, RunStatus, TaskStatus
from highway_core.persistence.run_reads import RunReads, RunRow, TaskRow

_MOST_DOCUMENTS = 100
_LOOKED_AT = 100
"""Open tasks that are looked at to say what a run does."""
_PAST_DEADLINE = re.compile(r"The deadline of \S+ s has passed\.")


class WireState(StrEnum):
    """Where a run stands, in the words of the published clients."""

    PENDING = "pending"
    RUNNING = "running"
    SLEEPING = "sleeping"
    """Nothing but timers."""
    WAITING = "waiting"
    """For a person, an event or another run; or it is paused."""
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    """Failed, because its deadline had passed."""


@dataclass(frozen=True, slots=True)
class TaskPage:
    """Tasks of a run in the order in which they came to be, then those that nobody has touched."""

    tasks: tuple[TaskRow, ...]
    next_offset: int | None
    """Where the next page begins; None if this is the last one."""


@dataclass(frozen=True, slots=True)
class Activity:
    """What a run does now."""

    state: WireState
    current: str | None
    """A task that is at work, else one that the run waits for."""
    ended: int
    total: int


class RunOverviews:
    """Overviews of the runs of one database. Thread-safe."""

    def __init__(self, reads: RunReads) -> None:
        self._reads = reads
        self._lock = threading.Lock()
        self._documents: OrderedDict[str, Mapping[str, str]] = OrderedDict()

    def tasks(self, run: RunRow, limit: int, offset: int = 0) -> TaskPage:
        """One page; what changes meanwhile may move a task from one page to another."""
        rows = self._reads.tasks(run.run_id, limit + 1, offset)
        if len(rows) > limit:
            return TaskPage(tuple(rows[:limit]), offset + limit)
        pending = self._pending(run)
        before = offset + len(rows) if rows or not offset else sum(self._reads.task_counts(run.run_id).values())
        skipped = max(offset - before, 0)
        untouched = pending[skipped : skipped + limit - len(rows)]
        left = len(pending) - skipped - len(untouched)
        return TaskPage((*rows, *untouched), offset + len(rows) + len(untouched) if left > 0 else None)

    def counts(self, run: RunRow) -> dict[TaskStatus, int]:
        """How many tasks stand where, PENDING ones included."""
        counts = dict(self._reads.task_counts(run.run_id))
        untouched = len(self._pending(run))
        if untouched:
            counts[TaskStatus.PENDING] = counts.get(TaskStatus.PENDING, 0) + untouched
        return counts

    def activity(self, run: RunRow) -> Activity:
        """What a run does, and how far it is."""
        counts = self.counts(run)
        total = sum(counts.values())
        ended = total - sum(count for status, count in counts.items() if status in TASK_OPEN)
        if run.is_over:
            return Activity(_end_of(run), None, ended, total)
        waits = self._reads.open_tasks(run.run_id, _LOOKED_AT)
        state, current = _doing(run, counts, waits)
        return Activity(state, current, ended, total)

    def _pending(self, run: RunRow) -> list[TaskRow]:
        if run.is_over or run.definition_hash is None:
            return []
        known = self._reads.outer_task_ids(run.run_id)
        return [
            TaskRow(task_id, operator_type, TaskStatus.PENDING)
            for task_id, operator_type in self._document(run.definition_hash).items()
            if task_id not in known
        ]

    def _document(self, definition_hash: str) -> Mapping[str, str]:
        """The tasks outside all loops → their operators."""
        with self._lock:
            if definition_hash in self._documents:
                self._documents.move_to_end(definition_hash)
                return self._documents[definition_hash]
        text = self._reads.definition(definition_hash)
        if text is None:
            return {}
        graph = compile_document(Source(json.loads(text), definition_hash), inputs=EVERY_NAME)[0].graph
        tasks = {node.task_id: node.task.operator_type for node in graph.nodes}
        with self._lock:
            self._documents[definition_hash] = tasks
            while len(self._documents) > _MOST_DOCUMENTS:
                self._documents.popitem(last=False)
        return tasks


def _end_of(run: RunRow) -> WireState:
    match run.status:
        case RunStatus.COMPLETED:
            return WireState.COMPLETED
        case RunStatus.CANCELLED:
            return WireState.CANCELLED
        case _ if _PAST_DEADLINE.fullmatch(run.error_message or ""):
            return WireState.TIMED_OUT
        case _:
            return WireState.FAILED


def _doing(run: RunRow, counts: Mapping[TaskStatus, int], tasks: list[TaskRow]) -> tuple[WireState, str | None]:
    by_status: dict[TaskStatus, str] = {}
    for task in tasks:
        by_status.setdefault(task.status, task.task_id)
    if run.status is RunStatus.PENDING:
        return WireState.PENDING, None
    if run.status is RunStatus.PAUSED:
        return WireState.WAITING, None
    for status in (TaskStatus.RUNNING, TaskStatus.QUEUED):
        if counts.get(status):
            return WireState.RUNNING, by_status.get(status)
    if counts.get(TaskStatus.WAITING_FOR_EVENT):
        return WireState.WAITING, by_status.get(TaskStatus.WAITING_FOR_EVENT)
    if counts.get(TaskStatus.WAITING_FOR_TIMER):
        return WireState.SLEEPING, by_status.get(TaskStatus.WAITING_FOR_TIMER)
    if counts.get(TaskStatus.WAITING_FOR_CHILDREN):
        return WireState.WAITING, by_status.get(TaskStatus.WAITING_FOR_CHILDREN)
    return WireState.RUNNING, None
