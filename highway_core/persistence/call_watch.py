"""Breaks off calls to the database that take longer than they ever should.

A server that is gone is noticed by the network; one that stands still, or a network that swallows answers, by nobody: a
call then waits for ever, and so does the thread that made it. To its caller a call that is broken off is a lost
connection. The watch is one thread a process, which itself calls nobody.
"""

from __future__ import annotations

import logging
import threading
from typing import Protocol
from weakref import WeakSet

_OFTEN = 4
"""Looks within the shortest patience there is."""
_LONGEST_PAUSE = 5.0

_log = logging.getLogger(__name__)


class Watched(Protocol):
    """A connection."""

    @property
    def patience(self) -> float:
        """Seconds that a call over it may take."""
        ...

    def busy_for(self) -> float:
        """How many seconds ago a call began that has not ended."""
        ...

    def break_off(self) -> bool:
        """Let it fail; False if there is nothing to break."""
        ...


class CallWatch:
    """Looks after connections for as long as they are there; begins with the first one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watched: WeakSet[Watched] = WeakSet()
        self._news = threading.Event()
        self._thread: threading.Thread | None = None

    def look_after(self, connection: Watched) -> None:
        """Idempotent."""
        with self._lock:
            if connection in self._watched:
                return
            self._watched.add(connection)
            if self._thread is None or not self._thread.is_alive():  # not yet begun, or in a fork of its process
                self._thread = threading.Thread(target=self._run, name="highway-call-watch", daemon=True)
                self._thread.start()
        self._news.set()

    def _run(self) -> None:
        while True:
            if self._news.wait(self._look()):
                self._news.clear()

    def _look(self) -> float:
        """Seconds until the next look."""
        with self._lock:
            connections = list(self._watched)
        for one in connections:
            if one.busy_for() > one.patience and one.break_off():
                _log.warning("a call to the database was broken off: no answer for %g s", one.patience)
        return min([_LONGEST_PAUSE, *(one.patience / _OFTEN for one in connections)])


CALL_WATCH = CallWatch()
"""Of this process."""
