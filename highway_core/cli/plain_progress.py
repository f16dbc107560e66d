"""Progress as lines of text, for logs and pipes: one for each task that ended, and not more than anyone would read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from highway_core.cli.output import Output
from highway_core.cli.progress import RunView, TaskLine
from highway_core.cli.text import first_line, seconds_text
from highway_core.lifecycle import TASK_FAILED, TASK_FINAL, TaskStatus
from highway_core.utils.clock import Clock, SystemClock

_LINES = 200
"""Tasks that get a line each; of those after them only the failed ones do."""
_COUNT_EVERY = 1.0
"""Seconds between two lines that only count."""
_WIDTH = 160

MARKS = {
    TaskStatus.COMPLETED: "✓",
    TaskStatus.FAILED: "✗",
    TaskStatus.UPSTREAM_FAILED: "⊘",
    TaskStatus.SKIPPED: "-",
    TaskStatus.CANCELLED: "■",
}


class PlainProgress:
    """Says what happened when it happens."""

    def __init__(self, output: Output, clock: Clock | None = None) -> None:
        self._log: RunView | None = None
        self._output = output
        self._clock = clock or SystemClock()
        self._lines = 0
        self._next_count = 0.0

    @contextmanager
    def showing(self, log: RunView) -> Iterator[None]:
        """The counts come from ``log``."""
        self._log = log
        yield

    def task_changed(self, line: TaskLine) -> None:
        text = _text(line)
        if text is None:
            return
        if self._lines < _LINES:
            self._lines += 1
            self._output.say(text)
            if self._lines == _LINES:
                self._next_count = self._clock.monotonic() + _COUNT_EVERY
                self._output.say("  … from here on only failures, and a count every second")
        elif line.status in TASK_FAILED:
            self._output.say(text)
        else:
            self._count()

    def _count(self) -> None:
        now = self._clock.monotonic()
        if now >= self._next_count and self._log is not None:
            self._next_count = now + _COUNT_EVERY
            self._output.say(f"  … {self._log.done:,} of {self._log.total:,} tasks")


def _text(line: TaskLine) -> str | None:
    """What there is to say about a task, or None."""
    name = first_line(line.label, _WIDTH)
    if line.status in TASK_FINAL:
        text = f"  {MARKS[line.status]} {name}"
        if line.seconds is not None:
            text += f" ({seconds_text(line.seconds)})"
        if line.done_before:
            text += " (done before)"
        if line.error:
            said = line.error if line.status in TASK_FAILED else f"{line.status}, {line.error}"
            text += f": {first_line(said, _WIDTH)}"
        elif line.status is TaskStatus.CANCELLED:
            text += f": {line.status}"
        return text
    if line.status is TaskStatus.WAITING_FOR_TIMER and line.wake_at is not None:
        until = line.wake_at.strftime("%Y-%m-%d %H:%M:%S UTC")
        if line.error:
            return f"  ↻ {name}: attempt {line.attempt} failed, the next one at {until}: {first_line(line.error, 80)}"
        return f"  … {name} waits until {until}"
    if line.status is TaskStatus.WAITING_FOR_EVENT:
        return f"  … {name} waits for an event"
    return None
