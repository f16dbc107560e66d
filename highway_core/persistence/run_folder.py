"""The folder of one run: ``changes.jsonl``, to which every save adds a line, and ``run.json`` when the run has ended.

``run.json`` is the whole run in the same form, two lines: how it was created and everything since, with the number of
the last line that it holds. It replaces the journal; lines after that number are newer. A line that a crash cut off
was never answered as saved, and is dropped.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from highway_core.errors import StorageError
from highway_core.persistence.journal import Entry, TakenOver, decode, encode
from highway_core.persistence.manager import RunChanges, RunRecord
from highway_core.persistence.run_image import RunImage

JOURNAL = "changes.jsonl"
SNAPSHOT = "run.json"


class RunFolder:
    """Reads and extends one run's files. Not thread-safe; methods raise OSError, and StorageError for bad files."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None
        self._last = 0

    def append(self, entry: Entry) -> None:
        """Add one line, whole or not at all."""
        if self._file is None:
            self._file = self._open()
        size = os.fstat(self._file).st_size
        line = encode(self._last + 1, entry)
        written = 0
        try:
            while written < len(line):
                written += os.write(self._file, line[written:])
        finally:
            if written < len(line):
                os.ftruncate(self._file, size)
        self._last += 1

    def load(self) -> RunImage:
        """The run as it stands. FileNotFoundError if there is none."""
        # The journal is read first: it may be replaced by the snapshot at any moment, but not the other way round.
        journal = self._read(JOURNAL)
        snapshot = list(self._entries(SNAPSHOT, self._read(SNAPSHOT)))
        through = snapshot[-1][0] if snapshot else 0
        newer = [line for line in self._entries(JOURNAL, journal) if line[0] > through]
        image: RunImage | None = None
        for _, entry in snapshot + newer:
            if isinstance(entry, RunRecord):
                image = RunImage(entry)
            elif image is not None:
                _apply(image, entry)
        if image is None:
            raise FileNotFoundError(f"no run in {self._path}")
        return image

    def compact(self) -> None:
        """Put the whole run into ``run.json`` and drop the journal."""
        image = self.load()
        record = image.saved().record
        temporary = self._path / f"{SNAPSHOT}.{os.getpid()}"
        temporary.write_bytes(encode(0, record) + encode(self._last, image.as_changes()))
        temporary.replace(self._path / SNAPSHOT)
        self.close()
        (self._path / JOURNAL).unlink()

    @contextlib.contextmanager
    def exclusively(self) -> Iterator[None]:
        """Keep other processes from taking the run over at the same time; released by the system if this one dies."""
        descriptor = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _open(self) -> int:
        """The journal, ready for the next line: what a crash left of one is cut off."""
        contents = {file: self._read(file) for file in (SNAPSHOT, JOURNAL)}
        numbers = [number for file, content in contents.items() for number, _ in self._entries(file, content)]
        if not numbers:
            raise FileNotFoundError(f"no run in {self._path}")
        self._last = max(numbers)
        file = os.open(self._path / JOURNAL, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        os.ftruncate(file, len(_whole_lines(contents[JOURNAL])))
        return file

    def _read(self, file: str) -> bytes:
        try:
            return (self._path / file).read_bytes()
        except FileNotFoundError:
            return b""

    def _entries(self, file: str, content: bytes) -> Iterator[tuple[int, Entry]]:
        for position, line in enumerate(_whole_lines(content).splitlines(), start=1):
            try:
                yield decode(line)
            except (ValueError, KeyError, TypeError) as error:
                raise StorageError(
                    f"{self._path / file}:{position} is damaged and cannot be read: {error}."
                    " Restore the file, or delete the folder and start the run again."
                ) from error


def _whole_lines(content: bytes) -> bytes:
    return content[: content.rfind(b"\n") + 1]


def _apply(image: RunImage, entry: TakenOver | RunChanges) -> None:
    if isinstance(entry, TakenOver):
        image.take_over(entry.owner, entry.status)
    else:
        image.apply(entry)
