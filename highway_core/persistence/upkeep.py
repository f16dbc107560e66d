"""What keeps the durable tables going and in order: waking, rescuing, repairing, and letting go of what is old.

Every call is bounded and safe with any number of callers at once. Nothing here decides about a run: a repaired row only
makes a worker look at it again.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from highway_core.lifecycle import RUN_FINAL, TASK_WAITING, QueueKind, RunMode, RunStatus, TaskStatus
from highway_core.persistence.durable_connection import DurableConnection
from highway_core.persistence.statements import upkeep as sql
from highway_core.persistence.transition_store import FENCES

REPAIRED = "queue_rows_repaired"
"""The counter of rows that were missing."""
_KEYS_OUTLIVE_RUNS = 10
"""So many times as long."""

_DURABLE = RunMode.DURABLE.value
_WAITING_ROWS = [TaskStatus.WAITING_FOR_TIMER.value, TaskStatus.WAITING_FOR_EVENT.value]
_AT_WORK = [TaskStatus.QUEUED.value, TaskStatus.RUNNING.value]
_WAITING_TASKS = sorted(status.value for status in TASK_WAITING)
_GOING = [RunStatus.PENDING.value, RunStatus.RUNNING.value]
"""Runs that something must happen to; a paused one may rest."""
_ENDED = sorted(status.value for status in RUN_FINAL)
_OPEN = sorted(status.value for status in frozenset(RunStatus) - RUN_FINAL)


class Look(NamedTuple):
    """Seconds on the database's clock, negative if overdue; None: there is none."""

    timer: float | None
    lease: float | None
    slot: float | None
    """The next one to come."""
    slot_overdue: bool


class Upkeep:
    """Speaks over the connection of one thread."""

    def __init__(self, connection: DurableConnection) -> None:
        self._connection = connection
        self._last_run = ""
        """The run up to which lost rows have been looked for; none: a new sweep begins."""
        self._last_name = ""

    def look(self) -> Look:
        """When there is something to do."""
        timer, lease, slot, overdue = self._connection.fetch(sql.LOOK, (_WAITING_ROWS, TaskStatus.RUNNING.value))[0]
        return Look(_seconds(timer), _seconds(lease), _seconds(slot), overdue)

    def wake(self, limit: int) -> int:
        """Make waiting rows that are due claimable; how many."""
        return int(self._connection.value(sql.WAKE, (limit,)))

    def rescue(self, limit: int) -> int:
        """Make rows whose lease is over claimable; how many."""
        return int(self._connection.value(sql.RESCUE, (limit,)))

    def notify(self, channel: str) -> None:
        """A transaction of its own: a commit that notifies takes a lock on the whole database."""
        self._connection.run(sql.NOTIFY, (channel,))

    def repair(self, age: float, limit: int) -> int:
        """Put back queue rows that are missing since ``age`` seconds, in the next ``limit`` open runs; how many rows.

        ``sweeping`` says whether there are more runs to look at.
        """
        values = (_GOING, _AT_WORK, _WAITING_TASKS, age, _DURABLE, self._last_run, limit)
        last, seen, lost = self._connection.fetch(sql.LOST, values)[0]
        self._last_run = last if seen == limit else ""
        rows = sum(self._repair(run_id, age) for run_id in lost or ())
        if rows:
            self._connection.run(sql.COUNT, (REPAIRED, rows))
        return rows

    def deliver(self, limit: int) -> int:
        """Make claimable who waits for an event that has come, among the next ``limit`` who wait; how many rows."""
        values = (TaskStatus.WAITING_FOR_EVENT.value, self._last_name, limit)
        last, seen, come = self._connection.fetch(sql.UNDELIVERED, values)[0]
        self._last_name = last if seen == limit else ""
        return sum(int(self._connection.value(sql.DELIVER, (name,))) for name in come or ())

    @property
    def sweeping(self) -> bool:
        """True while :meth:`repair` or :meth:`deliver` has not come to the end."""
        return bool(self._last_run or self._last_name)

    def delete_old_runs(self, days: float, limit: int) -> int:
        """Delete runs that ended so many days ago, with everything of theirs; how many."""
        with self._connection.transaction():
            values = (_DURABLE, days, _ENDED, days, _OPEN, _OPEN, limit)
            ids = [row[0] for row in self._connection.fetch(sql.LOCK_OLD_RUNS, values)]
            if ids:
                for statement in sql.DELETE_OF_RUNS:
                    self._connection.run(statement, (ids,))
        return len(ids)

    def delete_old_events(self, days: float, limit: int) -> int:
        """Delete events that are so old, and older than every run that is open; how many."""
        return self._connection.run(sql.DELETE_EVENTS, (_DURABLE, _OPEN, days, limit))

    def delete_old_keys(self, days: float, limit: int) -> int:
        """Delete idempotency keys of runs that have long been deleted; how many."""
        return self._connection.run(sql.DELETE_KEYS, (days * _KEYS_OUTLIVE_RUNS, limit))

    def forget_dead_services(self, age: float) -> int:
        """Delete the rows of services not heard of for ``age`` seconds; how many."""
        return self._connection.run(sql.FORGET_DEAD, (age,))

    def _repair(self, run_id: str, age: float) -> int:
        queued = TaskStatus.QUEUED.value
        with self._connection.transaction():
            if not self._connection.value(sql.LOCK_RUN, (run_id, _GOING)):
                return 0
            # Statements of their own: they see what was committed before the lock was ours.
            work = (QueueKind.WORK.value, queued, run_id, _AT_WORK, age)
            start = (QueueKind.START.value, queued, run_id, age, _WAITING_TASKS)
            rows = self._connection.run(sql.REPAIR_WORK, work)
            rows += self._connection.run(sql.REPAIR_WAITS, (FENCES, age, run_id))
            rows = rows or self._connection.run(sql.REPAIR_RUN, start)
            rows += self._connection.run(sql.REPAIR_DEADLINE, (FENCES, run_id, age))
            if rows:
                self._connection.run(sql.GROW, (run_id,))
            return rows


def _seconds(value: Any) -> float | None:
    return None if value is None else float(value)
