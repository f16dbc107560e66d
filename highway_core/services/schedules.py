"""Registering workflows to be started by the clock, and what an operator does with them; see docs/schedules.md."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from highway_core.config import Settings
from highway_core.engine.cron_slots import first_slot, interval_before
from highway_core.engine.graph import CompiledWorkflow
from highway_core.errors import ScheduleError
from highway_core.persistence.durable_connection import DurableConnection
from highway_core.persistence.schedule_store import Schedule, ScheduleStore
from highway_core.persistence.schema import require_schema
from highway_core.services.slot_starts import WorkflowCache, run_row, slot_inputs, slots_of
from highway_core.utils.naming import did_you_mean

TIMER_CHANNEL = "highway_timer"
"""Something is due earlier than the Scheduler may know."""
WORK_CHANNEL = "highway_work"
"""There is something to claim."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


def open_schedules(settings: Settings) -> Schedules:
    """The schedules of the settings' database; SchemaError if that is not ready."""
    require_schema(settings.database_url)
    return Schedules(DurableConnection(settings.database_url, "highway schedules"))


class Schedules:
    """For one thread; close it in the end."""

    def __init__(self, connection: DurableConnection) -> None:
        self._connection = connection
        self._store = ScheduleStore(connection)

    def register(
        self,
        workflow: CompiledWorkflow,
        *,
        schedule_id: str | None = None,
        timezone: str = "UTC",
        inputs: Mapping[str, Any] | None = None,
    ) -> Schedule:
        """Store the schedule that a document has; ScheduleError if it has none, or the time zone is unknown.

        Registering it again replaces it. What stays: whether it is paused (the document's ``is_paused`` holds the first
        time only), its next slot unless the times themselves have changed, and the slots that have had their run.
        """
        model = workflow.model
        if model.schedule is None:
            raise ScheduleError(
                f"Workflow '{model.name}' has no schedule. Give it one, as in: schedule: '0 6 * * 1-5'."
            )
        name = schedule_id or model.name
        if not _NAME.fullmatch(name):
            raise ScheduleError(
                f"{name!r} cannot be the id of a schedule: letters, digits, '_', '.' and '-', up to 100."
            )
        now = self._store.now()
        old = next(iter(self._store.find(name)), None)
        new = Schedule(
            schedule_id=name,
            workflow_name=model.name,
            definition_hash=workflow.definition_hash,
            expression=model.schedule,
            timezone=timezone,
            inputs=dict(inputs or {}),
            start_date=_local(model.start_date, timezone),
            catchup=model.catchup,
            paused=old.paused if old else model.is_paused,
            max_active_runs=model.max_active_runs,
            next_slot=None,
            last_slot=old.last_slot if old else None,
            created_at=old.created_at if old else now,
        )
        new = replace(new, next_slot=_next_slot(new, old, now))
        self._store.put(new, workflow.definition_json)
        self._store.hint(TIMER_CHANNEL)
        return new

    def all(self) -> list[Schedule]:
        """By id."""
        return self._store.find()

    def find(self, schedule_id: str) -> Schedule:
        """ScheduleError if there is none."""
        found = self._store.find(schedule_id)
        if not found:
            raise self._unknown(schedule_id)
        return found[0]

    def pause(self, schedule_id: str) -> None:
        """No further slot is started; the runs that there are go on. ScheduleError if there is no such schedule."""
        self._set_paused(schedule_id, True)

    def unpause(self, schedule_id: str) -> None:
        """What was missed is made up for: with ``catchup`` every slot, else the newest."""
        self._set_paused(schedule_id, False)
        self._store.hint(TIMER_CHANNEL)

    def remove(self, schedule_id: str) -> None:
        """Its runs stay. ScheduleError if there is no such schedule."""
        if not self._store.remove(schedule_id):
            raise self._unknown(schedule_id)

    def trigger(self, schedule_id: str, by: str) -> str:
        """Start a run now, beside the slots, about the last whole interval; also where the schedule is paused or has as
        many runs as it may. Returns the run's id."""
        schedule = self.find(schedule_id)
        workflow = WorkflowCache(self._store).find(schedule.definition_hash)
        now, slots = self._store.now(), slots_of(schedule)
        interval = interval_before(slots, slots.until(now) or now)
        run_id = f"trigger-{schedule_id}-{uuid.uuid4().hex}"
        row = run_row(schedule, workflow, run_id, slot_inputs(schedule, now, interval))
        self._store.submit([{**row, "who": by}])
        self._store.hint(WORK_CHANNEL)
        return run_id

    def close(self) -> None:
        """Idempotent."""
        self._connection.close()

    def _set_paused(self, schedule_id: str, paused: bool) -> None:
        if not self._store.set_paused(schedule_id, paused):
            raise self._unknown(schedule_id)

    def _unknown(self, schedule_id: str) -> ScheduleError:
        names = [schedule.schedule_id for schedule in self._store.find()]
        hint = did_you_mean(schedule_id, names) or "'durable schedule list' shows those that there are."
        return ScheduleError(f"There is no schedule '{schedule_id}'; {hint}")


def _next_slot(new: Schedule, old: Schedule | None, now: datetime) -> datetime | None:
    try:
        slots = slots_of(new)
    except ValueError as error:
        raise ScheduleError(f"Schedule '{new.schedule_id}' cannot be registered: {error}.") from error
    if old is not None and _times(old) == _times(new):
        return old.next_slot
    first = first_slot(slots, new.start_date, now)
    if first is not None and new.last_slot is not None and first <= new.last_slot:
        return slots.after(new.last_slot)
    return first


def _times(schedule: Schedule) -> tuple[object, ...]:
    return schedule.expression, schedule.timezone, schedule.start_date


def _local(moment: datetime | None, timezone: str) -> datetime | None:
    """A ``start_date`` without an offset is on the wall of the schedule's time zone."""
    if moment is None or moment.tzinfo is not None:
        return moment and moment.astimezone(UTC)
    try:
        return moment.replace(tzinfo=ZoneInfo(timezone)).astimezone(UTC)
    except (OSError, ValueError, KeyError):
        return moment.replace(tzinfo=UTC)  # refused right after, by the slots
