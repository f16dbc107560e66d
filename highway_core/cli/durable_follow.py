"""Following a run to its end: what happens in it and in its child runs is read from their histories, and shown as LOCAL
mode shows it.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from itertools import accumulate, repeat
from operator import itemgetter
from typing import Any

from highway_core.cli.durable_clients.client import DurableClient, Json
from highway_core.cli.progress import Progress, TaskLine
from highway_core.lifecycle import RUN_FINAL, TASK_FINAL, TASK_OPEN, RunStatus, TaskStatus
from highway_core.utils.clock import Clock, SystemClock, sleep, utc_now

_LOOK = 0.5
"""Seconds between two looks at what happened; the end of the run is heard of at once."""
_TASK = "task."
_TABLE = 1_000
_MOST_RUNS = 100
"""Runs that are followed at once; the next ones when others are over."""
_LISTED = 500
"""Child runs of a run that are found."""
_UNSUCCESSFUL = TASK_FINAL - {TaskStatus.COMPLETED, TaskStatus.SKIPPED}
_WORDS = frozenset(status.value for status in TaskStatus)
_ENDS = frozenset(f"run.{status.value}" for status in RUN_FINAL)


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
        self._seen = {run_id: 0}
        """The last entry of each history that was read."""
        self._going: dict[str, None] = {run_id: None}
        """The runs that are followed."""
        self._failed_below: list[TaskLine] = []
        """Tasks of child runs that did not do their work."""

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
        failed = (line for line in self.ended if line.status in _UNSUCCESSFUL)
        self.unsuccessful = sorted([*failed, *self._failed_below], key=_end)
        return told

    def _take_in(self, told: Json, progress: Progress) -> None:
        self._count(told)
        news: list[tuple[datetime, str, Json]] = []
        parents = {run_id for (run_id, _), line in self.open.items() if line.status is TaskStatus.WAITING_FOR_CHILDREN}
        to_read = list(self._going)
        while to_read:
            run_id = to_read.pop()
            events = self._read(run_id)
            moments = accumulate((_moment(one["at"]) or self.began for one in events), max)  # a history has an order
            news += zip(moments, repeat(run_id), events, strict=False)
            if run_id in parents or any(_status(one["kind"]) is TaskStatus.WAITING_FOR_CHILDREN for one in events):
                to_read += self._new_children(run_id)
            if run_id != self._run_id and any(one["kind"] in _ENDS for one in events):
                del self._going[run_id]
        for _, run_id, event in sorted(news, key=itemgetter(0)):
            status = _status(event["kind"])
            if status is not None:
                progress.task_changed(self._changed(run_id, event, status))

    def _read(self, run_id: str) -> list[Json]:
        """What is new in the history of a run."""
        events = list(self._client.history(run_id, self._seen[run_id]))
        if events:
            self._seen[run_id] = events[-1]["seq"]
        return events

    def _new_children(self, run_id: str) -> list[str]:
        """The child runs of a run that are not known yet."""
        there = (child["workflow_id"] for child in self._client.runs(_LISTED, parent=run_id))
        found = [one for one in there if one not in self._seen][: max(0, _MOST_RUNS - len(self._going))]
        self._seen.update(dict.fromkeys(found, 0))
        self._going.update(dict.fromkeys(found))
        return found

    def _count(self, told: Json) -> None:
        counts = Counter({TaskStatus(status): int(count) for status, count in told["summary"].items()})
        self.total = sum(counts.values())
        self.counts = Counter({status: count for status, count in counts.items() if status in TASK_FINAL})

    def _changed(self, run_id: str, event: Json, status: TaskStatus) -> TaskLine:
        path, at = event["task_id"], _moment(event["at"])
        own = run_id == self._run_id
        label = path if own else f"{run_id.removeprefix(f'{self._run_id}/')}/{path}"
        key = (run_id, path)
        line = self.open.get(key) or TaskLine(label, path, "", own=own, may_retry=True)
        line.status = status
        line.attempt = event["attempt"] or line.attempt
        line.error = event["detail"] if status in TASK_FINAL or status is TaskStatus.WAITING_FOR_TIMER else None
        if status is TaskStatus.RUNNING:
            line.started_at = line.started_at or at
        if status in TASK_OPEN:
            self.open[key] = line
        else:
            line.ended_at = at
            self.open.pop(key, None)
            if status in _UNSUCCESSFUL:
                self.unsuccessful.append(line)
                if not own:
                    self._failed_below.append(line)
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
