"""A heap of moments: what the deciding thread has to do when. A wait or a retry is an entry here, and no thread."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count

Action = Callable[[], None]


class Timers:
    """Actions by monotonic time. An action that is no longer wanted finds that out by itself when it runs."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Action]] = []
        self._numbers = count()

    def __len__(self) -> int:
        return len(self._heap)

    def at(self, moment: float, action: Action) -> None:
        """Run ``action`` at ``moment`` (monotonic seconds)."""
        heapq.heappush(self._heap, (moment, next(self._numbers), action))

    def wait(self, now: float) -> float | None:
        """Seconds until the next action is due (0 if one is), or None if there is none."""
        return max(0.0, self._heap[0][0] - now) if self._heap else None

    def run_due(self, now: float) -> None:
        """Run what is due, in order."""
        while self._heap and self._heap[0][0] <= now:
            heapq.heappop(self._heap)[2]()
