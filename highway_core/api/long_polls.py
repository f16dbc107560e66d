"""Requests that wait for the end of a run. They hold a thread each, so only some of the threads may."""

from __future__ import annotations

import threading

from highway_core.persistence.run_reads import RunRow
from highway_core.persistence.run_waiter import RunWaiter

LONGEST_SECONDS = 60.0


class LongPolls:
    """Waits on behalf of requests; ``most`` may at the same time, the others are answered at once."""

    def __init__(self, waiter: RunWaiter, most: int) -> None:
        self._waiter = waiter
        self._places = threading.BoundedSemaphore(max(most, 1))

    def wait(self, run: RunRow, seconds: float | None) -> None:
        """Until the run has ended, or that long, or not at all."""
        if run.is_over or not seconds or not self._places.acquire(blocking=False):
            return
        try:
            self._waiter.wait_for_end(run.run_id, min(seconds, LONGEST_SECONDS))
        finally:
            self._places.release()

    def close(self) -> None:
        """Stop listening."""
        self._waiter.close()
