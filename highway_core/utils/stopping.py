"""How a running attempt is told to stop: by a timeout, a cancelled task, or the end of the process.

Whoever holds something that can be stopped (a process tree, a container, a socket) registers a callback; whoever
decides that it is over calls :meth:`StopScope.stop`. Thread-safe.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from highway_core.errors import TaskStoppedError


class StopScope:
    """One attempt's stop signal. Stopping is final and happens once; the first reason stands."""

    __slots__ = ("_callbacks", "_event", "_lock", "reason")

    def __init__(self) -> None:
        self._callbacks: list[Callable[[], None]] = []
        self._event: threading.Event | None = None
        self._lock = threading.Lock()
        self.reason: str | None = None
        """Why it was stopped; None while it goes on."""

    @property
    def stopped(self) -> bool:
        return self.reason is not None

    def stop(self, reason: str) -> None:
        """Record ``reason`` and run the callbacks, newest first, in the calling thread."""
        with self._lock:
            if self.reason is not None:
                return
            self.reason = reason
            callbacks = self._callbacks[::-1]
            self._callbacks.clear()
            if self._event is not None:
                self._event.set()
        for callback in callbacks:
            callback()

    @contextmanager
    def on_stop(self, callback: Callable[[], None]) -> Iterator[None]:
        """Run ``callback`` when the scope is stopped inside the block; at once if it already is."""
        with self._lock:
            already = self.reason is not None
            if not already:
                self._callbacks.append(callback)
        if already:
            callback()
        try:
            yield
        finally:
            with self._lock:
                if callback in self._callbacks:
                    self._callbacks.remove(callback)

    def check(self) -> None:
        """Raise TaskStoppedError if the scope was stopped."""
        if self.reason is not None:
            raise TaskStoppedError(self.reason)

    def wait(self, seconds: float) -> bool:
        """Hold the thread for at most ``seconds``; True as soon as the scope is stopped."""
        with self._lock:
            if self.reason is not None:
                return True
            if self._event is None:
                self._event = threading.Event()
            event = self._event
        return event.wait(seconds)
