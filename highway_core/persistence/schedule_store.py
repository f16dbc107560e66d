"""The rows of ``schedules``, and the runs that are started for their slots."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from highway_core.lifecycle import RUN_FINAL, RunStatus
from highway_core.persistence.durable_connection import DurableConnection
from highway_core.persistence.statements import schedules as sql
from highway_core.utils.json_values import dumps

_OPEN = sorted(str(status) for status in frozenset(RunStatus) - RUN_FINAL)


@dataclass(frozen=True, slots=True)
class Schedule:
    """One schedule as it stands; moments are aware, in UTC."""

    schedule_id: str
    workflow_name: str
    definition_hash: str
    expression: str
    timezone: str
    inputs: Mapping[str, Any]
    start_date: datetime | None
    catchup: bool
    paused: bool
    max_active_runs: int
    next_slot: datetime | None
    """None: none is left."""
    last_slot: datetime | None
    """The newest slot that a run was started for."""
    created_at: datetime
    active_runs: int = 0


class ScheduleStore:
    """Speaks over the connection of one thread."""

    def __init__(self, connection: DurableConnection) -> None:
        self._connection = connection

    def now(self) -> datetime:
        """The database's clock."""
        return _utc(self._connection.value(sql.NOW))

    def find(self, schedule_id: str | None = None) -> list[Schedule]:
        """That schedule, or all by id."""
        return [_schedule(row) for row in self._connection.fetch(sql.SELECT, (_OPEN, schedule_id))]

    def put(self, schedule: Schedule, definition_json: str) -> None:
        """Store a schedule and its document; one of that id is replaced, but stays paused or unpaused."""
        new = schedule
        with self._connection.transaction():
            self._connection.run(sql.DEFINE, (new.definition_hash, new.workflow_name, definition_json))
            self._connection.run(
                sql.PUT,
                (
                    *(new.schedule_id, new.workflow_name, new.definition_hash, new.expression, new.timezone),
                    *(dumps(dict(new.inputs)), new.start_date, new.catchup, new.paused, new.max_active_runs),
                    *(new.next_slot, new.created_at),
                ),
            )

    def set_paused(self, schedule_id: str, paused: bool) -> bool:
        """False: there is no such schedule."""
        return self._connection.run(sql.SET_PAUSED, (paused, schedule_id)) > 0

    def remove(self, schedule_id: str) -> bool:
        """Its runs stay. False: there is no such schedule."""
        return self._connection.run(sql.REMOVE, (schedule_id,)) > 0

    def definition(self, definition_hash: str) -> str:
        """The document, as it was stored."""
        return str(self._connection.value(sql.DEFINITION, (definition_hash,)))

    def due(self, limit: int, without: Sequence[str] = ()) -> list[str]:
        """The schedules that have a slot to start and room for a run, the longest due first."""
        return [row[0] for row in self._connection.fetch(sql.DUE, (list(without), _OPEN, limit))]

    @contextmanager
    def locked(self, schedule_id: str) -> Iterator[Schedule | None]:
        """A transaction that alone holds this schedule; None if it is not due any more, or somebody else has it."""
        with self._connection.transaction():
            held = self._connection.value(sql.LOCK_DUE, (schedule_id,))
            # Read by a statement of its own: the first one saw the runs as they were before the lock was ours.
            yield self.find(schedule_id)[0] if held else None

    def advance(self, schedule_id: str, last: datetime | None, following: datetime | None) -> None:
        """Slots up to ``last`` have their runs; ``following`` is the next one."""
        self._connection.run(sql.ADVANCE, (following, last, schedule_id))

    def submit(self, rows: Sequence[Mapping[str, Any]]) -> list[str]:
        """Create runs of a stored document (see ``highway_submit``); the ids of those that were not there yet."""
        answers = self._connection.value(sql.SUBMIT, (json.dumps(list(rows)),))
        return [answer["id"] for answer in answers if answer["created"]]

    def hint(self, channel: str) -> None:
        """Wake who listens."""
        self._connection.run("SELECT pg_notify(%s, '')", (channel,))


def _schedule(row: tuple[Any, ...]) -> Schedule:
    values: list[Any] = [_utc(value) if isinstance(value, datetime) else value for value in row]
    values[5] = json.loads(values[5])
    return Schedule(*values)


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)
