"""What looks after the callers of a worker, from a thread that itself calls nobody.

A server that is gone is noticed by the network; one that stands still, or a network that swallows answers, by nobody:
a call then waits for ever. So calls that take longer than they ever should are broken off, which to the caller is a
lost connection. And the leases that a stuck heartbeat cannot renew must be kept to all the same.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from highway_core.persistence.durable_connection import DurableConnection
from highway_core.services.loop import Stop

logger = logging.getLogger("HighwayWorker")


class Watchdog:
    """Looks every ``interval`` seconds: calls ``fence``, and after each connection, which may take so many seconds."""

    def __init__(
        self, interval: float, fence: Callable[[], None], connections: Sequence[tuple[DurableConnection, float]]
    ) -> None:
        self._interval = interval
        self._fence = fence
        self._connections = connections

    def run(self, stop: Stop) -> None:
        """Until ``stop``."""
        while not stop.wait(self._interval):
            self._fence()
            for connection, patience in self._connections:
                if connection.busy_for() > patience and connection.break_off():
                    logger.warning("a call to the database was broken off: no answer for %g s", patience)
