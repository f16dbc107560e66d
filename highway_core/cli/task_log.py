"""What the command line remembers of a run while it goes on: how many tasks ended how, which are open, what went wrong.

It is written on the deciding thread and read by the live display; a reader takes a copy of what it reads.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from highway_core.cli.progress import Progress, TaskLine
from highway_core.engine.local_runs import RunListener
from highway_core.engine.run import Run
from highway_core.engine.run_state import Instance
from highway_core.lifecycle import TASK_FINAL, TASK_OPEN, RunStatus, TaskStatus
from highway_core.persistence.manager import SavedRun
from highway_core.utils.clock import utc_now

_KEPT = 200
"""Ended tasks that a report can show one by one. A run may have millions."""

_UNSUCCESSFUL = TASK_FINAL - {TaskStatus.COMPLETED, TaskStatus.SKIPPED}


class TaskLog(RunListener):
    """Hears a run and keeps what reports need.

    ``announce`` is called when the run has been opened; ``keep_all`` keeps every ended task, however many.
    """

    def __init__(self, progress: Progress, announce: Callable[[], None], *, keep_all: bool = False) -> None:
        self.run: Run | None = None
        self.counts: Counter[TaskStatus] = Counter()
        """Ended tasks of the run itself, by status."""
        self.open: dict[tuple[str, str], TaskLine] = {}
        self.ended: list[TaskLine] = []
        """In the order in which they ended; the first ones, if there are many."""
        self.unsuccessful: list[TaskLine] = []
        """Those of ``ended``, and of child runs, that did not do their work; the first ones."""
        self.was_over = False
        """True if there was nothing left to do."""
        self._progress = progress
        self._announce = announce
        self._keep_all = keep_all
        self.began = utc_now()

    @property
    def has_begun(self) -> bool:
        return self.run is not None

    @property
    def total(self) -> int:
        """Tasks that ended or are open or are still to come, as far as is known: loops make more."""
        known = 0 if self.run is None else len(self.run.root.instances)
        return max(known, sum(self.counts.values()) + len(self.open))

    @property
    def done(self) -> int:
        return sum(self.counts.values())

    def run_started(self, run: Run) -> None:
        self.run = run
        self.was_over = run.status is RunStatus.COMPLETED
        self._announce()

    def task_changed(self, run: Run, instance: Instance) -> None:
        key = (run.run_id, instance.path)
        line = self.open.get(key) or self._new_line(run, instance)
        line.status = instance.status
        line.attempt = instance.attempt
        line.started_at = line.started_at or instance.started_at
        line.ended_at = instance.completed_at
        line.wake_at = instance.wake_at
        line.error = instance.error
        if instance.status in TASK_OPEN:
            self.open[key] = line
        else:
            self.open.pop(key, None)
            line.done_before = line.started_at is not None and line.started_at < self.began
            self._keep(line)
        self._progress.task_changed(line)

    def recall(self, saved: SavedRun) -> None:
        """Take over the tasks of a run that was over before."""
        for row in saved.tasks.values():
            operator, status, error = row.columns.operator_type, row.status, row.error_message
            line = TaskLine(row.task_id, row.task_id, operator, status, row.attempt, error=error, done_before=True)
            line.started_at, line.ended_at = row.started_at, row.completed_at
            self._keep(line)

    def _new_line(self, run: Run, instance: Instance) -> TaskLine:
        task = instance.node.task
        own = run is self.run
        label = instance.path
        if not own and self.run is not None:
            label = f"{run.run_id.removeprefix(f'{self.run.run_id}/')}/{instance.path}"
        policy = task.retry_policy or run.compiled.model.default_retry_policy
        return TaskLine(label, instance.path, task.operator_type, own=own, may_retry=policy is not None)

    def _keep(self, line: TaskLine) -> None:
        if line.own:
            self.counts[line.status] += 1
            if self._keep_all or len(self.ended) < _KEPT:
                self.ended.append(line)
        if line.status in _UNSUCCESSFUL and len(self.unsuccessful) < _KEPT:
            self.unsuccessful.append(line)
