"""What a person reads when a run is over: the verdict, the counts, a table of tasks, the errors, and how to go on."""

from __future__ import annotations

from collections.abc import Sequence

from highway_core.cli.progress import Ended, TaskLine
from highway_core.cli.text import columns, counted, first_line, indented, seconds_text
from highway_core.engine.run import Run
from highway_core.engine.steps import HUMAN_TASKS
from highway_core.lifecycle import RunStatus, TaskStatus
from highway_core.utils.json_values import dumps

_ROWS = 100
"""The longest table."""
_ERRORS = 20
"""The longest list of errors."""
_NAME_WIDTH = 60
_NOTE_WIDTH = 100
_RESULT_WIDTH = 1_000
_WITH_POLICY = frozenset({"task", "activity"})


def verdict(run: Run, stopped_by: str | None) -> str:
    """One line; ``stopped_by`` is the signal that ended the run."""
    if run.status is RunStatus.COMPLETED:
        return "✅ LOCAL Workflow completed successfully!"
    if stopped_by is not None:
        return f"❌ LOCAL Workflow interrupted by {stopped_by}."
    return f"❌ LOCAL Workflow {run.status}: {indented(run.error or 'no reason was given', '   ')}"


def summary_lines(log: Ended, run: Run) -> list[str]:
    """From ``Task Summary:`` to the errors."""
    lines = task_summary(log)
    if run.status is RunStatus.COMPLETED and run.result is not None:
        lines += ["", f"Result: {first_line(dumps(run.result), _RESULT_WIDTH)}"]
    return lines


def task_summary(log: Ended) -> list[str]:
    """The counts, the table and the errors."""
    return ["", *_counts(log), *_table(log), *_errors(log.unsuccessful)]


def way_out(log: Ended, resume: str) -> list[str]:
    """How to go on with a run that did not complete; ``resume`` is the command for it."""
    lines = ["", "To go on where it stopped (completed tasks are not done again, the document must be the same):"]
    lines.append(f"   {resume}")
    failed = [line for line in log.unsuccessful if line.status is TaskStatus.FAILED]
    if any(line.operator_type in _WITH_POLICY and not line.may_retry and line.error != HUMAN_TASKS for line in failed):
        lines.append(
            "A failure that passes by itself is best left to the task: retry_policy: {max_retries: 3, delay: PT5S}"
        )
    return lines


def _counts(log: Ended) -> list[str]:
    counts = log.counts
    failed = f"   ❌ Failed: {counts[TaskStatus.FAILED]}"
    others = (
        ("⛔ Not started, because of a failure before them", TaskStatus.UPSTREAM_FAILED),
        ("➖ Skipped", TaskStatus.SKIPPED),
        ("⏹️ Cancelled", TaskStatus.CANCELLED),
    )
    lines = ["Task Summary:", f"   ✅ Completed: {counts[TaskStatus.COMPLETED]}", failed]
    lines += [f"   {name}: {counts[status]}" for name, status in others if counts[status]]
    return [*lines, f"   📊 Total: {log.done}"]


def _table(log: Ended) -> list[str]:
    rows, left = log.ended, 0
    if log.done > _ROWS:
        rows = [line for line in log.unsuccessful if line.own][:_ROWS]
        left = log.done - len(rows)
    if not rows:
        return []
    table = columns([("Task", "Status", "Time", "Note"), *map(_row, rows)])
    if left:
        table.append(f"   … and {counted(left, 'more task')}")
    return ["", *table]


def _row(line: TaskLine) -> tuple[str, str, str, str]:
    name = first_line(line.label, _NAME_WIDTH)
    seconds = line.seconds
    notes = []
    if line.done_before:
        notes.append("done before")
    if line.attempt > 1:
        notes.append(f"attempt {line.attempt}")
    if line.error:
        notes.append(first_line(line.error, _NOTE_WIDTH))
    return name, str(line.status), "-" if seconds is None else seconds_text(seconds), ", ".join(notes)


def _errors(lines: Sequence[TaskLine]) -> list[str]:
    failed = [line for line in lines if line.status is TaskStatus.FAILED]
    if not failed:
        return []
    shown = [f"   ❌ {first_line(line.label, _NAME_WIDTH)}: {_error(line)}" for line in failed[:_ERRORS]]
    if len(failed) > _ERRORS:
        shown.append(f"   … and {len(failed) - _ERRORS:,} more")
    return ["", "Failed tasks:", *shown]


def _error(line: TaskLine) -> str:
    return indented(line.error or "no reason was given", "      ")
