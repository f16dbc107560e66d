"""What has changed of one run since its last commit, as the rows that the commit writes.

Keys are those of ``highway_commit`` in ``statements/durable_functions.sql``, which explains them.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from highway_core.engine.durable.timeouts import timeouts
from highway_core.engine.run import Run
from highway_core.engine.run_records import progress_of, task_columns
from highway_core.engine.run_state import Instance
from highway_core.lifecycle import TASK_WAITING, QueueKind, RunStatus, TaskStatus
from highway_core.persistence.manager import TaskColumns
from highway_core.persistence.transition_store import FENCES
from highway_core.utils.json_values import dumps

Row = dict[str, Any]

_COLUMNS: dict[int, tuple[Any, TaskColumns]] = {}
"""By the identity of a node, which is kept with them so that its number cannot be another's. Bounded, see below."""
_MOST_COLUMNS = 20_000


class Changes:
    """Collects; :meth:`rows` renders. Thrown away with the image if the commit does not go through."""

    def __init__(self, run: Run, log_seq: int) -> None:
        self._run = run
        self.log_seq = log_seq
        self.log: list[Row] = []
        self.consumed: list[tuple[str, str, int]] = []
        self.held: list[tuple[str, str, int]] = []
        """Claims that the commit is made under, and that stay."""
        self.dropped: set[str] = set()
        self.queue: dict[tuple[str, str], Row] = {}
        self.status: RunStatus | None = None
        self.rare: dict[str, list[Row]] = {}
        self.tokens: dict[str, str] = {}
        """The hash of the token that a task waits for, by its path; its row forgets it when the wait is over."""
        self._dirty: dict[Instance, None] = {}
        self._memory_and_variables = False

    @property
    def empty(self) -> bool:
        """True if there is nothing that a commit would have to write."""
        return not (self.log or self.consumed or self.dropped or self.queue or self._dirty or self.rare)

    def consumes(self, path: str) -> bool:
        """True if the commit uses up the claim on the work of a task, which removes it from the queue."""
        return any(one[0] == path and one[1] == QueueKind.WORK for one in self.consumed)

    def mark(self, instance: Instance, led_by: str | None = None, detail: str | None = None) -> None:
        """The instance has a new status: its row is written, and its event logged."""
        self._dirty[instance] = None
        moment = instance.completed_at if not instance.is_open else None
        self.note(f"task.{instance.status.value}", instance.path, moment, led_by=led_by, detail=detail)
        self.log[-1]["a"] = instance.attempt
        if not instance.is_open:
            instance.ended_seq = self.log_seq

    def touch(self, instance: Instance) -> None:
        """The row of the instance is to be written, without an event."""
        self._dirty[instance] = None

    def note(
        self,
        kind: str,
        path: str = "",
        moment: datetime | None = None,
        *,
        led_by: str | None = None,
        detail: str | None = None,
    ) -> None:
        """An entry of the run's event log."""
        self.log_seq += 1
        row: Row = {"r": self._run.run_id, "n": self.log_seq, "at": _epoch(moment or self._run.now()), "k": kind}
        row["t"] = path
        if led_by is not None:
            row["ft"] = led_by
        if detail is not None:
            row["d"] = detail
        self.log.append(row)

    def add(self, section: str, **row: Any) -> None:
        """A row of a section that a commit has only now and then."""
        row.setdefault("r", self._run.run_id)
        self.rare.setdefault(section, []).append(row)

    def variables(self) -> None:
        """The run's variables have changed."""
        self.rare["variables"] = [{"r": self._run.run_id}]

    def attempt(self, instance: Instance, status: TaskStatus, now: datetime, error: str | None) -> None:
        """One attempt is over; that it failed and is tried again is in the log."""
        if status is TaskStatus.FAILED:
            self.note("attempt.failed", instance.path, now, detail=error)
            self.log[-1]["a"] = instance.attempt

    def rows(self, version: int) -> tuple[Row, dict[str, list[Row]]]:
        """The run's own row, and the rows of each other section."""
        run, run_id = self._run, self._run.run_id
        new: list[Row] = []
        old: list[Row] = []
        for instance in self._dirty:
            row = _row(run_id, version + 1, instance)
            if instance.stored:
                old.append(row)
            else:
                new.append(row | _lasting(instance, len(new)))
        if self.tokens:
            for row in (*new, *old):
                row["tk"] = self.tokens.get(row["t"])
        if run.memory.changed:
            self.rare["memory"] = [
                {"r": run_id, "k": key, "v": dumps(run.memory.get(key)), "n": version + 1} for key in run.memory.changed
            ]
        if "variables" in self.rare:
            self.rare["variables"] = [{"r": run_id, "v": dumps(run.variables)}]
        own: Row = {"r": run_id, "v": version, "n": self.log_seq}
        if self.status is not None:
            own |= {"s": self.status.value, "e": run.error, "f": run.is_over}
            if run.is_over:
                own["o"] = dumps(run.result)
        sections: dict[str, list[Row]] = {
            "consume": [
                *({"r": run_id, "t": path, "k": kind, "f": fence} for path, kind, fence in self.consumed),
                *({"r": run_id, "t": path, "k": kind, "f": fence, "h": True} for path, kind, fence in self.held),
            ],
            "drop": [{"r": run_id, "t": path} for path in self.dropped],
            "new": new,
            "tasks": old,
            "queue": [] if run.is_over else list(self.queue.values()),
            "log": self.log,
        }
        return own, sections

    def committed(self) -> None:
        """All of it is stored."""
        for instance in self._dirty:
            instance.stored = True
        self._run.memory.changed.clear()
        self.log, self.consumed, self.held, self.dropped, self.queue, self.rare = [], [], [], set(), {}, {}
        self.tokens = {}
        self.status = None
        self._dirty = {}
        self._run.first_epoch = FENCES * self.log_seq


def queue_row(run_id: str, instance_path: str, kind: QueueKind | str, status: str, **more: Any) -> Row:
    """A row of the queue; ``more``: q, p, du (epoch), ev, f, a, pl."""
    return {"r": run_id, "t": instance_path, "k": str(kind), "st": status, "f": 0, "a": 0, **more}


def _row(run_id: str, version: int, one: Instance) -> Row:
    row: Row = {"r": run_id, "t": one.path, "v": version, "st": one.status.value, "a": one.attempt, "f": one.epoch}
    row["sa"] = _epoch(one.started_at)
    row["ca"] = _epoch(one.completed_at)
    row["es"] = one.ended_seq
    row["er"] = one.error
    row["rs"] = one.result_text
    row["wk"] = _epoch(one.wake_at)
    row["pg"] = progress_of(one, _durable_progress(one))
    return row


def _lasting(one: Instance, place: int) -> Row:
    """What of a row is written once."""
    columns = _columns(one)
    row: Row = {"sc": one.scope.prefix, "nd": one.node.index, "op": columns.operator_type, "rt": columns.runtime}
    row |= {"fn": columns.function, "im": columns.image, "cm": columns.command_json, "ar": columns.args_json}
    row |= {"kw": columns.kwargs_json, "rk": columns.result_key, "de": columns.dependencies_json}
    created = _epoch(one.created_at) or 0.0
    row |= {"cr": created, "od": int(created * 1_000_000) + one.node.index + place}
    return row


def _columns(one: Instance) -> TaskColumns:
    key = id(one.node)
    known = _COLUMNS.get(key)
    if known is None or known[0] is not one.node:
        if len(_COLUMNS) > _MOST_COLUMNS:
            _COLUMNS.clear()
        known = _COLUMNS[key] = (one.node, task_columns(one.node))
    return known[1]


def _durable_progress(one: Instance) -> Mapping[str, Any]:
    """What rebuilding the instance needs beside what LOCAL mode keeps of it."""
    left: dict[str, Any] = {}
    if one.opened:
        left["opened"] = True
    if one.cause is not None:
        left["cause"] = one.cause.path
    if one.blame is not None:
        left["blame"] = one.blame.path
    if one.key is not None:
        left["key"] = one.key
    if one.added:
        left["added"] = one.added
    if one.status in TASK_WAITING and (held := timeouts(one)):
        left["timeouts"] = held
    return left


def _epoch(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()
