"""How often an address has come with a wrong key, so that guessing costs the database nothing."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field

from highway_core.utils.clock import Clock, SystemClock

_WRONG_KEYS_A_MINUTE = 20
_WINDOW = 60.0
_MOST_ADDRESSES = 10_000


@dataclass(slots=True)
class WrongKeys:
    """Counts wrong keys by address, a minute at a time."""

    clock: Clock = field(default_factory=SystemClock)
    limit: int = _WRONG_KEYS_A_MINUTE
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _counts: OrderedDict[str, tuple[float, int]] = field(default_factory=OrderedDict)

    def note(self, address: str) -> None:
        """One more."""
        with self._lock:
            now = self.clock.monotonic()
            until, count = self._counts.pop(address, (0.0, 0))
            self._counts[address] = (until, count + 1) if until > now else (now + _WINDOW, 1)
            while len(self._counts) > _MOST_ADDRESSES:
                self._counts.popitem(last=False)

    def wait(self, address: str) -> float:
        """Seconds that the address has to wait; 0 if it need not."""
        with self._lock:
            until, count = self._counts.get(address, (0.0, 0))
            left = until - self.clock.monotonic()
            return left if count >= self.limit and left > 0 else 0.0
