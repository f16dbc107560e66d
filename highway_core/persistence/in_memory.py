"""LOCAL runs that nobody needs after the process: tests, trials, benchmarks."""

from __future__ import annotations

import threading

from highway_core.errors import RunConflictError, RunNotFoundError, StorageError
from highway_core.lifecycle import RunStatus
from highway_core.persistence.manager import RunChanges, RunRecord, SavedRun, SavedState
from highway_core.persistence.run_image import RunImage
from highway_core.persistence.saved_state import state_of


class InMemoryPersistenceManager:
    """A store that ends with the process. Thread-safe; ``close`` keeps what it holds."""

    def __init__(self) -> None:
        self._runs: dict[str, RunImage] = {}
        self._idempotent: dict[str, str] = {}
        self._lock = threading.Lock()

    def create_run(self, run: RunRecord) -> None:
        image = RunImage(run)
        with self._lock:
            if run.run_id in self._runs:
                raise RunConflictError(f"Run '{run.run_id}' exists already: resume it or choose another run id.")
            self._runs[run.run_id] = image

    def take_over(self, run_id: str, expected_owner: str, owner: str, status: RunStatus) -> None:
        with self._lock:
            image = self._runs.get(run_id)
            if image is None:
                raise RunNotFoundError(f"There is no run '{run_id}' to resume.")
            if image.record.owner != expected_owner:
                raise RunConflictError(f"Run '{run_id}' was taken over by {image.record.owner} in the meantime.")
            image.take_over(owner, status)

    def load_run(self, run_id: str) -> SavedRun | None:
        with self._lock:
            image = self._runs.get(run_id)
            return None if image is None else image.saved()

    def save(self, changes: RunChanges) -> None:
        if changes.empty:
            return
        with self._lock:
            image = self._runs.get(changes.run_id)
            if image is None:
                raise StorageError(f"Run '{changes.run_id}' cannot be saved: it was never created.")
            image.apply(changes)
            for key, value in changes.idempotent.items():
                self._idempotent.setdefault(key, value)

    def find_idempotent(self, key: str) -> str | None:
        with self._lock:
            return self._idempotent.get(key)

    def load_workflow_state(self, run_id: str) -> tuple[SavedState | None, set[str]]:
        with self._lock:
            image = self._runs.get(run_id)
            return (None, set()) if image is None else state_of(image.saved(), image.results)

    def close(self) -> None:
        """Nothing to release."""
