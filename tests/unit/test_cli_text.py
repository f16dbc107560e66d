"""How the command line writes times, tables, foreign text and long runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from highway_core.cli.output import Output
from highway_core.cli.plain_progress import PlainProgress
from highway_core.cli.progress import TaskLine
from highway_core.cli.task_log import TaskLog
from highway_core.cli.text import columns, counted, first_line, indented, printable, seconds_text
from highway_core.lifecycle import TaskStatus

NOW = datetime(2030, 1, 31, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.00 s"),
        (1.234, "1.23 s"),
        (59.99, "59.99 s"),
        (60, "1 m 00 s"),
        (3_599, "59 m 59 s"),
        (3_600, "1 h 00 m"),
        (86_399, "23 h 59 m"),
        (86_400, "1 d 00 h"),
        (10 * 86_400 + 3_600, "10 d 01 h"),
    ],
)
def test_a_time_is_as_exact_as_anyone_wants_to_know(seconds: float, text: str) -> None:
    assert seconds_text(seconds) == text


def test_what_could_control_a_terminal_is_shown_and_not_done() -> None:
    assert printable("a\x1b[31mb\x07\r\x9b\u202e\u2028c\td\ne") == "a\\x1b[31mb\\x07\\r\\x9b\\u202e\\u2028c\td\ne"


def test_a_long_or_broken_text_is_cut_to_one_line() -> None:
    assert first_line("short", 10) == "short"
    assert first_line("0123456789", 10) == "0123456789"
    assert first_line("0123456789a", 10) == "012345678…"
    assert first_line("one\ntwo", 10) == "one…"
    assert indented("one\ntwo\n", "  ") == "one\n  two"


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert columns([("a", "bbb", "c"), ("aa", "b", "")], "> ") == ["> a   bbb  c", "> aa  b"]


def test_things_are_counted_in_singular_and_plural() -> None:
    assert [counted(number, "task") for number in (0, 1, 1_000)] == ["0 tasks", "1 task", "1,000 tasks"]


class Lines:
    """Keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


class Clock:
    """Its hands are turned by the test."""

    seconds = 100.0

    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def lines() -> Lines:
    return Lines()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def progress(lines: Lines, clock: Clock) -> PlainProgress:
    return PlainProgress(cast(Output, lines), clock)


def line(status: TaskStatus, **changes: Any) -> TaskLine:
    return TaskLine(label="pay", path="pay", operator_type="task", status=status, **changes)


@pytest.mark.parametrize(
    ("task", "text"),
    [
        (line(TaskStatus.QUEUED), None),
        (line(TaskStatus.RUNNING), None),
        (line(TaskStatus.WAITING_FOR_CHILDREN), None),
        (line(TaskStatus.COMPLETED, started_at=NOW, ended_at=NOW + timedelta(seconds=2)), "  ✓ pay (2.00 s)"),
        (line(TaskStatus.COMPLETED, done_before=True), "  ✓ pay (done before)"),
        (line(TaskStatus.FAILED, error="no\nmoney"), "  ✗ pay: no…"),
        (line(TaskStatus.SKIPPED, error="'ask' took no"), "  - pay: skipped, 'ask' took no"),
        (line(TaskStatus.CANCELLED), "  ■ pay: cancelled"),
        (line(TaskStatus.WAITING_FOR_TIMER, wake_at=NOW), "  … pay waits until 2030-01-31 12:00:00 UTC"),
        (
            line(TaskStatus.WAITING_FOR_TIMER, wake_at=NOW, attempt=2, error="busy"),
            "  ↻ pay: attempt 2 failed, the next one at 2030-01-31 12:00:00 UTC: busy",
        ),
        (line(TaskStatus.WAITING_FOR_EVENT), "  … pay waits for an event"),
    ],
)
def test_each_change_that_matters_is_one_line(
    progress: PlainProgress, lines: Lines, task: TaskLine, text: str | None
) -> None:
    progress.task_changed(task)
    assert lines.said == ([] if text is None else [text])


def test_after_many_lines_only_failures_and_a_count_a_second_are_said(
    progress: PlainProgress, lines: Lines, clock: Clock
) -> None:
    log = cast(TaskLog, SimpleNamespace(done=4_321, total=10_000))
    with progress.showing(log):
        for _ in range(1_000):
            progress.task_changed(line(TaskStatus.COMPLETED))
        assert len(lines.said) == 201
        assert lines.said[-1] == "  … from here on only failures, and a count every second"
        progress.task_changed(line(TaskStatus.FAILED, error="no money"))
        assert lines.said[-1] == "  ✗ pay: no money"
        for _ in range(3):
            clock.seconds += 1.0
            for _ in range(100):
                progress.task_changed(line(TaskStatus.COMPLETED))
    assert lines.said[202:] == ["  … 4,321 of 10,000 tasks"] * 3
