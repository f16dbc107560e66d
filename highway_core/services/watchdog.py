"""Keeps to the leases of a worker whose heartbeat is stuck, from a thread that itself calls nobody.

A call to a server that stands still is broken off in the end (``persistence.call_watch``); until then the heartbeat can
neither renew a lease nor notice that it has not.
"""

from __future__ import annotations

from collections.abc import Callable

from highway_core.services.loop import Stop


class Watchdog:
    """Calls ``fence`` every ``interval`` seconds."""

    def __init__(self, interval: float, fence: Callable[[], None]) -> None:
        self._interval = interval
        self._fence = fence

    def run(self, stop: Stop) -> None:
        """Until ``stop``."""
        while not stop.wait(self._interval):
            self._fence()
