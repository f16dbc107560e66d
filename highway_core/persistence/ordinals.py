"""Numbers that put the rows of one run in the order of their creation, without asking the database for one.

Only one process writes a run at a time. The numbers follow the wall clock in microseconds, so that those of a process
that takes a run over are above those of the one before it, and never go back within a process.
"""

from __future__ import annotations

import threading

from highway_core.utils.clock import utc_now

_last = 0
_lock = threading.Lock()


def ordinals(amount: int) -> range:
    """So many numbers in a row, above all that were given out."""
    global _last  # noqa: PLW0603  one order for the whole process
    now = int(utc_now().timestamp() * 1_000_000)
    with _lock:
        start = max(now, _last + 1)
        _last = start + amount - 1
    return range(start, start + amount)


def next_ordinal() -> int:
    """One number."""
    return ordinals(1)[0]
