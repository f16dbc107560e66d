"""Where a command writes, and a limit on what tools print.

A tool is foreign code that calls ``print``. Its output goes where the command's own goes, but it is counted for each
attempt: past HIGHWAY_MAX_OUTPUT_BYTES the call to ``print`` raises, so that the task fails with those words. What a
tool's own threads print is nobody's attempt and is not counted.

With ``--json`` stdout belongs to one JSON object. Whatever else would go there, from Python or from a child process
that inherits the descriptor, goes to stderr.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterable
from typing import Any, TextIO, cast

from highway_core.errors import OutputLimitError
from highway_core.tools.context import current_context

_REMEMBERED = 1_000
"""Attempts whose count is kept: more than can print at the same time."""


class PrintLimit:
    """Counts what each attempt prints. Thread-safe."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._printed: dict[tuple[str, str, int], int] = {}
        self._lock = threading.Lock()

    def count(self, text: str | bytes) -> None:
        """Add ``text``; OutputLimitError if the attempt of this thread has printed too much."""
        context = current_context()
        if context is None:
            return
        key = (context.run_id, context.task_id, context.attempt)
        with self._lock:
            total = self._printed.pop(key, 0) + self._size(text)
            self._printed[key] = total
            if len(self._printed) > _REMEMBERED:
                del self._printed[next(iter(self._printed))]
        if total > self._max_bytes:
            raise OutputLimitError(f"The tool printed more than {self._max_bytes:,} bytes (HIGHWAY_MAX_OUTPUT_BYTES).")

    def _size(self, text: str | bytes) -> int:
        if isinstance(text, bytes) or len(text) > self._max_bytes:
            return len(text)  # a text has at least as many bytes as characters
        return len(text.encode("utf-8", "replace"))


class CountedStream:
    """A stream in front of another; ``target`` may be exchanged while it is in use."""

    def __init__(self, target: Any, limit: PrintLimit) -> None:
        self.target = target
        self._limit = limit

    def write(self, text: Any) -> int:
        self._limit.count(text)
        written: int = self.target.write(text)
        return written

    def writelines(self, lines: Iterable[Any]) -> None:
        for line in lines:
            self.write(line)

    @property
    def buffer(self) -> CountedStream:
        """The bytes beneath the text, as counted as the text is."""
        return CountedStream(self.target.buffer, self._limit)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.target, name)


class Output:
    """The streams of one command: ``report`` for what it has to say, stdout and stderr for everybody else.

    A reader that went away (``| head``) or a full disk is no reason to give up a run: the rest is not shown.
    """

    def __init__(self, *, json_only: bool = False) -> None:
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="replace")  # an emoji must not end a run where the locale has none
        self.report: TextIO = _apart_from_stdout() if json_only else sys.stdout
        self.is_terminal = not json_only and self.report.isatty()
        self._closed = False
        self._counted: list[CountedStream] = []

    def say(self, text: str) -> None:
        """One line, or several, of the report."""
        if self._closed:
            return
        try:
            print(text, file=self.report, flush=True)
        except OSError:
            self._closed = True

    def complain(self, text: str) -> None:
        """One line, or several, on stderr."""
        try:
            print(text, file=sys.stderr, flush=True)
        except OSError:
            self._closed = True

    def limit_prints(self, max_bytes: int) -> None:
        """Count from now on what tools print."""
        limit = PrintLimit(max_bytes)
        self._counted = [CountedStream(sys.stdout, limit), CountedStream(sys.stderr, limit)]
        sys.stdout, sys.stderr = (cast(TextIO, stream) for stream in self._counted)

    def redirect(self, stdout: Any, stderr: Any) -> tuple[Any, Any]:
        """Send what tools print elsewhere; the streams that had it until now."""
        before = tuple(stream.target for stream in self._counted)
        for stream, target in zip(self._counted, (stdout, stderr), strict=True):
            stream.target = target
        return before[0], before[1]


def _apart_from_stdout() -> TextIO:
    """What was stdout; the descriptor of stdout is stderr from now on."""
    sys.stdout.flush()
    report = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="replace")
    os.dup2(2, 1)
    return report
