"""Makes a long task visible that the deciding thread carries out itself.

Such a task is not stored as running when it begins: most are over in microseconds, and that row would cost a chain
more than the work. If one goes on, another thread stores it in the deciding thread's place, which is inside the tool.
"""

from __future__ import annotations

import contextlib
import threading

from highway_core.engine.run_records import RunRecorder
from highway_core.engine.run_state import Instance
from highway_core.errors import StorageError
from highway_core.persistence.manager import PersistenceManager
from highway_core.utils.clock import sleep

_PATIENCE = 0.1
"""Seconds. A task is stored as running after one to two of these."""


class InlineWork:
    """Told by the deciding thread when inline work begins and is over."""

    def __init__(self, store: PersistenceManager) -> None:
        self._store = store
        self._lock = threading.Lock()
        """Held while the row is stored: the deciding thread touches neither store nor run before that is done."""
        self._current: tuple[RunRecorder, Instance] | None = None
        self._watched = False

    def begins(self, recorder: RunRecorder, instance: Instance) -> None:
        """The deciding thread enters the tool."""
        with self._lock:
            self._current = recorder, instance
            if self._watched:
                return
            self._watched = True
        threading.Thread(target=self._watch, name="highway-watch", daemon=True).start()

    def over(self) -> None:
        """The deciding thread is back."""
        with self._lock:
            self._current = None

    def _watch(self) -> None:
        """Look until there is nothing to see, or the same task a second time."""
        seen = None
        while True:
            sleep(_PATIENCE)
            with self._lock:
                current = self._current
                if current is not None and current is not seen:
                    seen = current
                    continue
                self._watched = False
                if current is not None:
                    self._save(*current)
                return

    def _save(self, recorder: RunRecorder, instance: Instance) -> None:
        with contextlib.suppress(StorageError):  # the deciding thread will meet it too, and say so
            self._store.save(recorder.snapshot(instance))
