"""What the log is told of a database that is away: each sentence once a minute, however many requests run into it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field

from flask import Flask, current_app

from highway_core.utils.clock import Clock, SystemClock

_QUIET_SECONDS = 60.0
_MOST_SENTENCES = 100
_EXTENSION = "highway.outages"


@dataclass(slots=True)
class Outages:
    """Remembers what was said. Thread-safe."""

    clock: Clock = field(default_factory=SystemClock)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _said: OrderedDict[str, float] = field(default_factory=OrderedDict)

    def is_news(self, error: Exception) -> bool:
        """True if this has not been said in the last minute; then it counts as said now."""
        text = str(error)
        with self._lock:
            now = self.clock.monotonic()
            said = self._said.get(text)
            if said is not None and now < said + _QUIET_SECONDS:
                return False
            self._said[text] = now
            self._said.move_to_end(text)
            while len(self._said) > _MOST_SENTENCES:
                self._said.popitem(last=False)
            return True


def install(app: Flask) -> None:
    """Give the application its memory."""
    app.extensions[_EXTENSION] = Outages()


def is_news(error: Exception) -> bool:
    """As :meth:`Outages.is_news`, for the application of this request."""
    outages: Outages = current_app.extensions[_EXTENSION]
    return outages.is_news(error)
