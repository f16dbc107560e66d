"""Which timeouts a task that waits is held to. Its row says so, that the sweep may know which rows of the queue it has.

``Steps`` asks for the timers themselves; what it asks for while a task waits is told here once more, from what is left
in the task's row, and a test holds the two equal.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from highway_core.engine.run_state import Instance
from highway_core.lifecycle import QueueKind, TaskStatus


def timeouts(one: Instance) -> dict[str, float]:
    """By the kind of their row: when (seconds since 1970) the task is given up if it still waits."""
    moments: dict[str, float] = {}
    for kind, seconds in _limits(one):
        try:
            moments[kind.value] = ((one.started_at or one.created_at) + timedelta(seconds=seconds)).timestamp()
        except OverflowError:
            continue  # nobody lives to see it
    return moments


def _limits(one: Instance) -> Iterator[tuple[QueueKind, float]]:
    task = one.node.task
    match one.status:
        case TaskStatus.WAITING_FOR_CHILDREN:
            holds = True
        case TaskStatus.WAITING_FOR_EVENT:
            holds = task.operator_type == "wait_for_event"  # the decision of a person has a deadline of its own
        case TaskStatus.WAITING_FOR_TIMER:
            holds = task.operator_type == "wait" and one.attempt > 0 and one.error is None  # no attempt goes on else
        case _:
            holds = False
    if holds and task.attempt_timeout is not None:
        yield QueueKind.TIMEOUT, task.attempt_timeout.timeout.total_seconds()
    branches = getattr(task, "timeout", None) if one.node.branches else None
    if one.status is TaskStatus.WAITING_FOR_CHILDREN and branches is not None:
        yield QueueKind.BRANCH_TIMEOUT, branches
