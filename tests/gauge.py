"""What the tools of tests write down while they are carried out, on however many threads of this process."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class Gauge:
    """How many calls were under way at once, and when each began, by a name of the test's choice."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._now: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.begun: dict[str, list[float]] = {}

    @contextmanager
    def under_way(self, name: str) -> Iterator[None]:
        with self._lock:
            self._now[name] += 1
            self.most[name] = max(self.most[name], self._now[name])
            self.begun.setdefault(name, []).append(time.monotonic())
        try:
            yield
        finally:
            with self._lock:
                self._now[name] -= 1

    def clear(self) -> None:
        with self._lock:
            self.most.clear()
            self.begun.clear()


GAUGE = Gauge()
