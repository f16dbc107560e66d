"""The threads that carry out work: daemons, started when they are needed, and more of them when one is given up.

``ThreadPoolExecutor`` is not used because it waits at exit for work that never returns, and because an abandoned
attempt (a timeout that does not kill) would hold one of its threads for ever.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue

Job = Callable[[], None]
"""Work that reports by itself and never raises."""


class WorkerThreads:
    """Runs jobs. Used by one thread, the deciding one."""

    def __init__(self, size: int, name: str = "highway-work") -> None:
        self._size = size
        self._name = name
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._started = 0
        self._busy = 0

    @property
    def free(self) -> int:
        """How many jobs would start at once."""
        return self._size - self._busy

    @property
    def idle(self) -> bool:
        """Nothing is being done."""
        return not self._busy

    def submit(self, job: Job) -> None:
        """Start ``job`` on a thread; :meth:`done` must follow when it has reported."""
        self._busy += 1
        if self._started < self._busy:
            self._started += 1
            threading.Thread(target=self._work, name=f"{self._name}-{self._started}", daemon=True).start()
        self._jobs.put(job)

    def done(self) -> None:
        """A job has reported."""
        self._busy -= 1

    def abandon(self) -> None:
        """A job that goes on is not waited for: another may take its place."""
        self._size += 1

    def returned(self) -> None:
        """An abandoned job has come to its end after all."""
        self._size -= 1
        self._busy -= 1

    def close(self) -> None:
        """Let the idle threads go; a busy one ends with its job."""
        for _ in range(self._started):
            self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
