"""That a worker is there, told to the others once in a while, and what it learns from them in return."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from highway_core.persistence.durable_connection import DurableConnection
from highway_core.persistence.statements import upkeep
from highway_core.utils.clock import Clock

_SECONDS = 10.0
"""Between two times."""


class Registration:
    """Of the deciding thread, and so its methods raise StorageError."""

    def __init__(
        self, connection: DurableConnection, worker_id: str, queues: Sequence[str], concurrency: int, clock: Clock
    ) -> None:
        self._connection = connection
        self._worker_id = worker_id
        self._queues = queues
        self._concurrency = concurrency
        self._clock = clock
        self._offset = timedelta(0)
        self._at = -_SECONDS

    def seconds(self) -> float:
        """Until it is time again."""
        return self._at + _SECONDS - self._clock.monotonic()

    def renew(self) -> int:
        """Tell the others; how many attempts all workers of these queues together can carry out at once."""
        host, pid, _ = self._worker_id.rsplit("#", 1)[0].split(":", 2)
        mine = (self._worker_id, "worker", host, int(pid), ",".join(self._queues), self._concurrency)
        others = (self._worker_id, "worker", list(self._queues), 3 * _SECONDS)
        moment, threads = self._connection.fetch(upkeep.WORKER_SEEN, mine + others)[0]
        self._offset = datetime.fromtimestamp(float(moment), UTC) - self._clock.now()
        self._at = self._clock.monotonic()
        return self._concurrency + int(threads)

    def now(self) -> datetime:
        """The database's clock, as far as it is known."""
        return self._clock.now() + self._offset

    def end(self) -> None:
        """The worker is gone."""
        self._connection.run(upkeep.GONE, (self._worker_id,))
