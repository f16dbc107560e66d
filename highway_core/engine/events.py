"""Named events inside one process: the newest payload of each name, and who waits for it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

Waiter = Callable[[Any], None]


class LocalEvents:
    """Events of LOCAL runs. Thread-safe; a waiter is called once, in the thread that emits."""

    def __init__(self) -> None:
        self._newest: dict[str, Any] = {}
        self._waiters: dict[str, list[Waiter]] = {}
        self._lock = threading.Lock()

    def emit(self, name: str, payload: Any) -> None:
        """Store the event and wake everyone who waits for it."""
        with self._lock:
            self._newest[name] = payload
            waiters = self._waiters.pop(name, [])
        for waiter in waiters:
            waiter(payload)

    def wait(self, name: str, waiter: Waiter) -> None:
        """Call ``waiter`` with the newest payload, at once if there is one."""
        with self._lock:
            if name not in self._newest:
                self._waiters.setdefault(name, []).append(waiter)
                return
            payload = self._newest[name]
        waiter(payload)
