"""LOCAL runs as JSON files, one folder a run: for a folder that can be read, copied and mailed without a database.

A save is handed to the operating system before it is answered, and survives the process; nothing waits for the disk,
so the last saves may be lost when the machine itself goes down.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from highway_core.errors import RunConflictError, RunNotFoundError, StorageError
from highway_core.lifecycle import RUN_FINAL, RunStatus
from highway_core.persistence.journal import TakenOver, encode
from highway_core.persistence.manager import RunChanges, RunRecord, SavedRun, SavedState
from highway_core.persistence.run_folder import JOURNAL, RunFolder
from highway_core.persistence.run_image import RunImage
from highway_core.persistence.saved_state import state_of

_log = logging.getLogger(__name__)


class FilePersistenceManager:
    """A store of LOCAL runs in ``folder``, which is made if it is missing. Thread-safe."""

    def __init__(self, folder: str | Path) -> None:
        self._runs = Path(folder).expanduser().absolute() / "runs"
        self._keys = self._runs.parent / "idempotent"
        self._open: dict[str, RunFolder] = {}
        self._lock = threading.Lock()
        with self._answering("be opened"):
            for part in (self._runs, self._keys):
                part.mkdir(parents=True, exist_ok=True, mode=0o700)

    def create_run(self, run: RunRecord) -> None:
        RunImage(run)  # Refuses values that are not JSON before anything is on disk.
        with self._lock, self._answering(f"create run '{run.run_id}'"):
            staging = Path(tempfile.mkdtemp(prefix=".new-", dir=self._runs))
            try:
                (staging / JOURNAL).write_bytes(encode(1, run))
                staging.rename(self._path(run.run_id))
            except OSError as error:
                if self._path(run.run_id).exists():
                    raise RunConflictError(
                        f"Run '{run.run_id}' exists already: resume it or choose another run id."
                    ) from error
                raise
            finally:
                shutil.rmtree(staging, ignore_errors=True)

    def take_over(self, run_id: str, expected_owner: str, owner: str, status: RunStatus) -> None:
        with self._lock, self._answering(f"take over run '{run_id}'"):
            folder = self._folder(run_id)
            try:
                with folder.exclusively():
                    standing = folder.load().record.owner
                    if standing != expected_owner:
                        raise RunConflictError(f"Run '{run_id}' was taken over by {standing} in the meantime.")
                    # Another process may have written since this one last did: read the journal's end anew.
                    folder.close()
                    folder.append(TakenOver(owner, status))
            except FileNotFoundError as error:
                del self._open[run_id]
                raise RunNotFoundError(f"There is no run '{run_id}' to resume.") from error

    def load_run(self, run_id: str) -> SavedRun | None:
        image = self._load(run_id)
        return None if image is None else image.saved()

    def save(self, changes: RunChanges) -> None:
        if changes.empty:
            return
        run_id = changes.run_id
        with self._lock, self._answering(f"save run '{run_id}'"):
            folder = self._folder(run_id)
            try:
                # First the keys: after a crash in between, the task runs again and finds its result here.
                for key, value in changes.idempotent.items():
                    self._keep(key, value)
                folder.append(changes)
                if changes.run is not None and changes.run.status in RUN_FINAL:
                    self._compact(run_id)
            except FileNotFoundError as error:
                del self._open[run_id]
                raise StorageError(f"Run '{run_id}' cannot be saved: it was never created.") from error
            except (TypeError, ValueError, RecursionError) as error:
                raise StorageError(f"Run '{run_id}' cannot be saved: a value is not JSON: {error}") from error

    def find_idempotent(self, key: str) -> str | None:
        with self._answering(f"look up the idempotency key '{key}'"):
            try:
                return self._key_file(key).read_text(encoding="utf-8")
            except FileNotFoundError:
                return None

    def load_workflow_state(self, run_id: str) -> tuple[SavedState | None, set[str]]:
        image = self._load(run_id)
        return (None, set()) if image is None else state_of(image.saved(), image.results)

    def close(self) -> None:
        with self._lock, self._answering("be closed"):
            for folder in self._open.values():
                folder.close()
            self._open.clear()

    def _compact(self, run_id: str) -> None:
        """The run is over. Nothing is lost where this fails, so it does not fail the save."""
        folder = self._open.pop(run_id)
        try:
            folder.compact()
        except OSError as error:
            _log.warning("run %s stays in its journal: %s", run_id, error)
        finally:
            folder.close()

    def _load(self, run_id: str) -> RunImage | None:
        with self._lock, self._answering(f"read run '{run_id}'"):
            try:
                return RunFolder(self._path(run_id)).load()
            except FileNotFoundError:
                return None

    def _folder(self, run_id: str) -> RunFolder:
        folder = self._open.get(run_id)
        if folder is None:
            folder = self._open[run_id] = RunFolder(self._path(run_id))
        return folder

    def _path(self, run_id: str) -> Path:
        """Readable, and safe for any id: no separator, no dot folder, not too long, unique without regard to case."""
        return self._runs / f"{quote(run_id, safe='', errors='replace')[:80]}-{_digest(run_id)[:12]}"

    def _key_file(self, key: str) -> Path:
        return self._keys / f"{_digest(key)}.json"

    def _keep(self, key: str, value: str) -> None:
        """Store ``value`` unless the key has one: the first result of a key is the result of all."""
        descriptor, name = tempfile.mkstemp(prefix=".new-", dir=self._keys)
        temporary = Path(name)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(value)
            with contextlib.suppress(FileExistsError):
                self._key_file(key).hardlink_to(temporary)
        finally:
            temporary.unlink()

    @contextlib.contextmanager
    def _answering(self, doing: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StorageError(f"The run folder '{self._runs.parent}' could not {doing}: {error}") from error


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
