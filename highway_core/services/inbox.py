"""What has happened to runs and was not looked at yet: posted by threads, taken by the one that decides.

Threads that leave large results faster than they are committed wait here, so that the results do not pile up.
"""

from __future__ import annotations

import threading
from collections import deque
from contextlib import suppress
from queue import Empty, SimpleQueue

from highway_core.engine.durable.inputs import Answer, Input
from highway_core.engine.task_runner import Completed
from highway_core.persistence.transition_store import INLINE_BYTES

Posted = tuple[str, Input] | None
"""A run and what happened to it; None only wakes the deciding thread."""

_MOST_CHARACTERS = 8_000_000
"""Of large results, that lie here; the last of them may be larger."""


class Inbox:
    """Thread-safe."""

    def __init__(self, most: int = _MOST_CHARACTERS) -> None:
        self._posted: SimpleQueue[Posted] = SimpleQueue()
        self._first: deque[Posted] = deque()
        """What ended a wait."""
        self._most = most
        self._large = 0
        self._room = threading.Condition()

    def __len__(self) -> int:
        return self._posted.qsize() + len(self._first)

    def post(self, posted: Posted) -> None:
        """Waits for room if it is a large result."""
        size = _size(posted)
        if size:
            with self._room:
                while self._large >= self._most:
                    self._room.wait()
                self._large += size
        self._posted.put(posted)

    def wait(self, seconds: float) -> None:
        """Until there is something, at most so long."""
        if not self._first and seconds > 0:
            with suppress(Empty):
                self._first.append(self._posted.get(timeout=seconds))

    def take(self) -> Posted:
        """What was posted first; queue.Empty if there is nothing."""
        posted = self._first.popleft() if self._first else self._posted.get_nowait()
        size = _size(posted)
        if size:
            with self._room:
                self._large -= size
                self._room.notify_all()
        return posted


def _size(posted: Posted) -> int:
    """Characters of a large result, 0 of anything else."""
    if posted is None or not isinstance(posted[1], Answer) or not isinstance(posted[1].outcome, Completed):
        return 0
    size = len(posted[1].outcome.text)
    return size if size > INLINE_BYTES else 0
