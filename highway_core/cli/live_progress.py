"""Progress on a terminal: counts, what is running, and the last failures, redrawn in place by rich.

The display has a thread of its own and comes only after a moment: a run that is over by then never loads rich, which
takes longer than many a run.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from highway_core.cli.output import Output
from highway_core.cli.plain_progress import MARKS
from highway_core.cli.progress import RunView, TaskLine
from highway_core.cli.text import first_line, seconds_text
from highway_core.lifecycle import TaskStatus
from highway_core.utils.clock import utc_now

_PATIENCE = 0.3
"""Seconds before the display appears."""
_REDRAWN = 8
"""Times a second."""
_OPEN_SHOWN = 8
_FAILED_SHOWN = 4
_BAR = 30
_WIDTH = 100
_STATES = {
    TaskStatus.WAITING_FOR_TIMER: "waits for its time",
    TaskStatus.WAITING_FOR_EVENT: "waits for an event",
}


class LiveProgress:
    """The display of one run."""

    def __init__(self, output: Output) -> None:
        self._log: RunView | None = None
        self._output = output
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._display, name="highway-display", daemon=True)

    def task_changed(self, line: TaskLine) -> None:
        """Nothing to do: the display reads the log whenever it is redrawn."""

    @contextmanager
    def showing(self, log: RunView) -> Iterator[None]:
        """Nothing of the display stays on the screen afterwards."""
        self._log = log
        self._thread.start()
        try:
            yield
        finally:
            self._stop.set()
            self._thread.join()

    def _display(self) -> None:
        if self._stop.wait(_PATIENCE):
            return
        rich_console, rich_live = import_module("rich.console"), import_module("rich.live")
        proxy = import_module("rich.file_proxy").FileProxy
        console = rich_console.Console(file=self._output.report)
        with rich_live.Live(
            get_renderable=self._renderable,
            console=console,
            refresh_per_second=_REDRAWN,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        ):
            # What tools print goes above the display.
            before = self._output.redirect(proxy(console, console.file), proxy(console, console.file))
            try:
                self._stop.wait()
            finally:
                for stream in self._output.redirect(*before):
                    stream.flush()

    def _renderable(self) -> Any:
        text = import_module("rich.text").Text
        shown = text(no_wrap=True, overflow="ellipsis")
        for number, (line, style) in enumerate(self._lines()):
            shown.append(f"\n{line}" if number else line, style)
        return shown

    def _lines(self) -> list[tuple[str, str]]:
        """Each line and its style."""
        log = self._log
        if log is None or not log.has_begun:
            return []
        done, total = log.done, max(log.total, 1)
        filled = _BAR * done // total
        elapsed = seconds_text((utc_now() - log.began).total_seconds())
        lines = [(f"{'━' * filled}{'─' * (_BAR - filled)} {done:,} of {total:,} tasks, {elapsed}", "bold")]
        working = [line for line in list(log.open.values()) if line.status is not TaskStatus.WAITING_FOR_CHILDREN]
        for line in working[:_OPEN_SHOWN]:
            lines.append((f"  … {_open_text(line)}", "cyan"))
        if len(working) > _OPEN_SHOWN:
            lines.append((f"  … and {len(working) - _OPEN_SHOWN:,} more", "cyan"))
        for line in log.unsuccessful[-_FAILED_SHOWN:]:
            said = first_line(line.error or line.status, _WIDTH)
            lines.append((f"  {MARKS[line.status]} {first_line(line.label, _WIDTH)}: {said}", "red"))
        return lines


def _open_text(line: TaskLine) -> str:
    name = first_line(line.label, _WIDTH)
    if line.status is TaskStatus.WAITING_FOR_TIMER and line.wake_at is not None:
        left = seconds_text(max(0.0, (line.wake_at - utc_now()).total_seconds()))
        if line.error:
            return f"{name}: attempt {line.attempt} failed, the next one in {left}"
        return f"{name} waits {left}"
    if line.status in _STATES:
        return f"{name} {_STATES[line.status]}"
    since = line.started_at or utc_now()
    text = f"{name} {seconds_text(max(0.0, (utc_now() - since).total_seconds()))}"
    return f"{text} (attempt {line.attempt})" if line.attempt > 1 else text
