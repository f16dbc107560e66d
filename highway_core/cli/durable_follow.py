"""Following a run to its end: what happens in it is read from its history and shown as LOCAL mode shows it."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

from highway_core.cli.durable_clients.client import DurableClient, Json
from highway_core.cli.progress import Progress, TaskLine
from highway_core.lifecycle import RUN_FINAL, TASK_FINAL, TASK_OPEN, RunStatus, TaskStatus
from highway_core.utils.clock import Clock, SystemClock, sleep, utc_now

_LOOK = 0.5
"""Seconds between two looks at what happened; the end of the run is heard of at once."""
_TASK = "task."
_TABLE = 1_000
_UNSUCCESSFUL = TASK_FINAL - {TaskStatus.COMPLETED, TaskStatus.SKIPPED}
_WORDS = frozenset(status.value for status in TaskStatus)


class FollowedRun:
    """What is known of a run that others carry out; read by a display on another thread."""

    def __init__(self, client: DurableClient, run_id: str, clock: Clock | None = None) -> None:
        self.open: dict[tuple[str, str], TaskLine] = {}
        self.unsuccessful: list[TaskLine] = []
        self.ended: list[TaskLine] = []
        self.counts: Counter[TaskStatus] = Counter()
        self.began = utc_now()
        self.has_begun = True
        self.total = 0
        self._client = client
        self._run_id = run_id
        self._clock = clock or SystemClock()
        self._seen = 0

    @property
    def done(self) -> int:
        return sum(self.counts.values())

    def follow(self, progress: Progress) -> Json:
        """Show what happens until the run is over; its status then, with its tasks."""
        with progress.showing(self):
            while True:
                asked = self._clock.monotonic()
                told = self._client.status(self._run_id, tasks=0, wait=_LOOK)
                self._take_in(told, progress)
                if RunStatus(told["workflow_status"]) in RUN_FINAL:
                    break
                # An API with too many who wait answers at once.
                sleep(max(0.0, min(_LOOK, asked + _LOOK - self._clock.monotonic())))
        return self.recall()

    def recall(self) -> Json:
        """The run as it stands, with its tasks; they are in ``ended`` then."""
        told = self._client.status(self._run_id, tasks=_TABLE)
        self._count(told)
        lines = [_line(task) for task in told["tasks"]]
        self.ended = sorted((line for line in lines if line.is_over), key=_end)
        self.unsuccessful = [line for line in self.ended if line.status in _UNSUCCESSFUL]
        return told

    def _take_in(self, told: Json, progress: Progress) -> None:
        self._count(told)
        for event in self._client.history(self._run_id, self._seen):
            self._seen = event["seq"]
            status = _status(event["kind"])
            if status is not None:
                progress.task_changed(self._changed(event, status))

    def _count(self, told: Json) -> None:
        counts = Counter({TaskStatus(status): int(count) for status, count in told["summary"].items()})
        self.total = sum(counts.values())
        self.counts = Counter({status: count for status, count in counts.items() if status in TASK_FINAL})

    def _changed(self, event: Json, status: TaskStatus) -> TaskLine:
        path, at = event["task_id"], _moment(event["at"])
        line = self.open.get(("", path)) or TaskLine(path, path, "", may_retry=True)
        line.status = status
        line.attempt = event["attempt"] or line.attempt
        line.error = event["detail"] if status in TASK_FINAL or status is TaskStatus.WAITING_FOR_TIMER else None
        if status is TaskStatus.RUNNING:
            line.started_at = line.started_at or at
        if status in TASK_OPEN:
            self.open[("", path)] = line
        else:
            line.ended_at = at
            self.open.pop(("", path), None)
            if status in _UNSUCCESSFUL:
                self.unsuccessful.append(line)
        return line


def _status(kind: str) -> TaskStatus | None:
    """The status of ``task.<status>``; None for what happens to the run, and for deeds of operators."""
    word = kind.removeprefix(_TASK)
    return TaskStatus(word) if word != kind and word in _WORDS else None


def _line(task: dict[str, Any]) -> TaskLine:
    return TaskLine(
        task["task_id"],
        task["task_id"],
        task["operator_type"],
        TaskStatus(task["status"]),
        task["attempt"],
        started_at=_moment(task["started_at"]),
        ended_at=_moment(task["completed_at"]),
        wake_at=_moment(task["wake_up_at"]),
        error=task["error"],
        may_retry=True,
    )


def _end(line: TaskLine) -> float:
    return line.ended_at.timestamp() if line.ended_at else 0.0


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
