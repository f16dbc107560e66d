"""From a schedule's slot to a run: its id, its inputs, and starting it once however many Schedulers there are.

A slot is started by the transaction that moves the schedule on to the next one, under the lock of the schedule's row.
Its run's id is made from schedule and slot, so that even a schedule that is removed and registered anew does not start
a slot twice.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from highway_core.engine.cron_slots import Slots, interval_before, missed_slots, parse_slots
from highway_core.engine.durable.driver import start_row
from highway_core.engine.graph import CompiledWorkflow
from highway_core.engine.loader import EVERY_NAME, compile_document, read_text
from highway_core.errors import ConnectionLostError, HighwayError
from highway_core.lifecycle import QueueKind
from highway_core.persistence.schedule_store import Schedule, ScheduleStore
from highway_core.utils.clock import Clock, SystemClock

SLOT_INPUTS = ("ds", "data_interval_start", "data_interval_end", "logical_date")
"""The inputs that every run of a schedule gets, beside the schedule's own."""
_MOST_SCHEDULES = 100
_MOST_SLOTS = 100
"""Of one schedule, in one transaction."""
_PUT_OFF = 60.0
"""Seconds for which a schedule that could not be started is left alone, so that it does not hold up the others."""
_MOST_KEPT = 200

_logger = logging.getLogger("HighwayScheduler")


class SlotStarter:
    """Starts the runs of due slots."""

    def __init__(self, store: ScheduleStore, clock: Clock | None = None) -> None:
        self._store = store
        self._clock = clock or SystemClock()
        self._workflows = WorkflowCache(store)
        self._put_off: dict[str, float] = {}

    def start_due(self) -> int:
        """One pass over what is due; how many runs were started."""
        now = self._clock.monotonic()
        self._put_off = {key: until for key, until in self._put_off.items() if until > now}
        return sum(self._start(key) for key in self._store.due(_MOST_SCHEDULES, list(self._put_off)))

    def _start(self, schedule_id: str) -> int:
        try:
            with self._store.locked(schedule_id) as schedule:
                return 0 if schedule is None else self._start_slots(schedule)
        except ConnectionLostError:
            raise
        except (HighwayError, ValueError) as error:
            self._put_off[schedule_id] = self._clock.monotonic() + _PUT_OFF
            _logger.error("Schedule '%s' cannot be started, tried again in %d s: %s", schedule_id, _PUT_OFF, error)
            return 0

    def _start_slots(self, schedule: Schedule) -> int:
        room = min(schedule.max_active_runs - schedule.active_runs, _MOST_SLOTS)
        if room <= 0 or schedule.next_slot is None:
            return 0
        slots = slots_of(schedule)
        due, following = missed_slots(slots, schedule.next_slot, self._store.now(), catchup=schedule.catchup, most=room)
        workflow = self._workflows.find(schedule.definition_hash)
        made = self._store.submit([slot_row(schedule, workflow, slots, slot) for slot in due])
        self._store.advance(schedule.schedule_id, due[-1] if due else None, following)
        for run_id in made:
            _logger.info("Schedule '%s' started run '%s'", schedule.schedule_id, run_id)
        return len(made)


class WorkflowCache:
    """Compiled workflows by the hash of their document."""

    def __init__(self, store: ScheduleStore) -> None:
        self._store = store
        self._known: dict[str, CompiledWorkflow] = {}

    def find(self, definition_hash: str) -> CompiledWorkflow:
        """DocumentError if this version of Highway refuses the document."""
        if definition_hash not in self._known:
            if len(self._known) >= _MOST_KEPT:
                self._known.clear()
            text = self._store.definition(definition_hash)
            self._known[definition_hash] = compile_document(read_text(text, definition_hash), inputs=EVERY_NAME)[0]
        return self._known[definition_hash]


def slots_of(schedule: Schedule) -> Slots:
    """ValueError if the time zone is not known here (any more)."""
    return parse_slots(schedule.expression, schedule.timezone, schedule.start_date or schedule.created_at)


def slot_row(schedule: Schedule, workflow: CompiledWorkflow, slots: Slots, slot: datetime) -> dict[str, Any]:
    """The run of a slot, for ``highway_submit``."""
    run_id = f"sched-{schedule.schedule_id}-{_compact(slot)}"
    start, end = interval_before(slots, slot)
    inputs = slot_inputs(schedule, start, (start, end))
    return {
        **run_row(schedule, workflow, run_id, inputs),
        "key": f"{QueueKind.START.value}:{run_id}",
        "slot": slot.timestamp(),
    }


def slot_inputs(schedule: Schedule, logical: datetime, interval: tuple[datetime, datetime]) -> dict[str, Any]:
    """``ds`` is the day of the logical date on the wall of the schedule's time zone."""
    return {
        **schedule.inputs,
        "ds": logical.astimezone(ZoneInfo(schedule.timezone)).date().isoformat(),
        "data_interval_start": interval[0].isoformat(),
        "data_interval_end": interval[1].isoformat(),
        "logical_date": logical.isoformat(),
    }


def run_row(schedule: Schedule, workflow: CompiledWorkflow, run_id: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """A run of a schedule, for ``highway_submit``."""
    row = start_row(run_id, workflow, inputs)
    return {
        **row,
        "ph": hashlib.sha256(f"{workflow.definition_hash}\0{row['inp']}".encode()).hexdigest(),
        "who": f"schedule:{schedule.schedule_id}",
        "sid": schedule.schedule_id,
    }


def _compact(slot: datetime) -> str:
    text = slot.astimezone(UTC).strftime("%Y%m%dT%H%M%S")
    return f"{text}.{slot.microsecond:06}Z" if slot.microsecond else f"{text}Z"
