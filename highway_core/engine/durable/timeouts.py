"""Which timeouts a task that waits is held to. Its row says so, that the sweep may know which rows of the queue it has.

Nobody works that out: the driver notes on the instance what ``Steps`` asks it for when it writes the row of the queue.
A timeout is asked for under an epoch, and one of an epoch that is over is not heard any more, so it is not told either.
"""

from __future__ import annotations

from collections.abc import Mapping

from highway_core.engine.run_state import Instance
from highway_core.lifecycle import QueueKind

TIMEOUTS = frozenset({QueueKind.TIMEOUT, QueueKind.BRANCH_TIMEOUT})


def note_timeout(one: Instance, kind: QueueKind, moment: float) -> None:
    """The task is given up at ``moment`` (seconds since 1970), if its epoch is still the one that it is now."""
    one.timeouts = {**one.timeouts, kind.value: (one.epoch, moment)}


def timeouts(one: Instance) -> dict[str, float]:
    """By the kind of their row: when the task is given up if it still waits."""
    return {kind: moment for kind, (epoch, moment) in one.timeouts.items() if epoch == one.epoch}


def restore_timeouts(one: Instance, stored: Mapping[str, float]) -> None:
    """Take over what :func:`timeouts` told when the row of the instance was written."""
    one.timeouts = {kind: (one.epoch, moment) for kind, moment in stored.items()}
