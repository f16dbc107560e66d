"""Schedules in PostgreSQL: registering them, and starting each slot exactly once."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from highway_core.engine.graph import CompiledWorkflow
from highway_core.engine.loader import Source, compile_document
from highway_core.errors import ScheduleError
from highway_core.persistence.durable_connection import DurableConnection
from highway_core.persistence.schedule_store import ScheduleStore
from highway_core.persistence.schema import require_schema
from highway_core.services.schedules import Schedules
from highway_core.services.slot_starts import SlotStarter


@pytest.fixture
def connection(postgres_url: str) -> Iterator[DurableConnection]:
    require_schema(postgres_url)
    connection = DurableConnection(postgres_url)
    yield connection
    connection.close()


@pytest.fixture
def schedules(connection: DurableConnection) -> Schedules:
    return Schedules(connection)


def _workflow(schedule: str | None = "0 6 * * *", **more: Any) -> CompiledWorkflow:
    document = {
        "name": "nightly",
        "variables": {"greeting": "hello"},
        "tasks": {"say": {"operator_type": "task", "function": "tools.log.info", "args": ["{{inputs.ds}}"]}},
        **({"schedule": schedule} if schedule else {}),
        **more,
    }
    return compile_document(Source(document, "<test>"))[0]


def _set_next(connection: DurableConnection, moment: str, schedule_id: str = "nightly") -> None:
    connection.run("UPDATE schedules SET next_slot = %s WHERE schedule_id = %s", (moment, schedule_id))


def _end_runs(connection: DurableConnection) -> None:
    connection.run("UPDATE workflows SET status = 'completed', end_time = clock_timestamp() WHERE status = 'PENDING'")


def _start(connection: DurableConnection) -> int:
    return SlotStarter(ScheduleStore(connection)).start_due()


def _slots(connection: DurableConnection) -> list[str]:
    rows = connection.fetch("SELECT slot FROM workflows WHERE schedule_id = 'nightly' ORDER BY slot")
    return [row[0].astimezone(UTC).strftime("%Y-%m-%dT%H:%M") for row in rows]


def test_a_document_is_registered_with_what_it_says(schedules: Schedules, connection: DurableConnection) -> None:
    made = schedules.register(_workflow(is_paused=True, max_active_runs=3, catchup=True), inputs={"a": 1})
    assert schedules.all() == [made]
    assert (made.schedule_id, made.expression, made.timezone) == ("nightly", "0 6 * * *", "UTC")
    assert (made.paused, made.max_active_runs, made.catchup, made.inputs) == (True, 3, True, {"a": 1})
    assert made.next_slot is not None
    now = ScheduleStore(connection).now()
    assert now < made.next_slot <= now + timedelta(days=1)
    assert (made.next_slot.hour, made.next_slot.minute) == (6, 0)


def test_a_due_slot_becomes_a_run_with_its_interval(schedules: Schedules, connection: DurableConnection) -> None:
    schedules.register(_workflow("0 6 * * *"), timezone="Europe/Oslo", inputs={"who": "me"})
    _set_next(connection, "2024-03-31T04:00Z")
    connection.run("UPDATE schedules SET catchup = true")
    assert _start(connection) == 1
    row = connection.fetch(
        "SELECT workflow_id, workflow_name, status, inputs_json, variables_json, created_by, slot FROM workflows"
    )[0]
    inputs = {
        "who": "me",
        "ds": "2024-03-30",
        "data_interval_start": "2024-03-30T05:00:00+00:00",
        "data_interval_end": "2024-03-31T04:00:00+00:00",
        "logical_date": "2024-03-30T05:00:00+00:00",
    }
    assert row[:3] == ("sched-nightly-20240331T040000Z", "nightly", "PENDING")
    assert json.loads(row[3]) == inputs
    assert json.loads(row[4]) == {"greeting": "hello", **inputs}
    assert row[5] == "schedule:nightly"
    assert row[6] == datetime(2024, 3, 31, 4, tzinfo=UTC)
    assert connection.fetch("SELECT workflow_id, kind, status FROM task_queue") == [(row[0], "start", "QUEUED")]
    schedule = schedules.find("nightly")
    assert (schedule.last_slot, schedule.next_slot) == (row[6], row[6] + timedelta(days=1))
    assert schedule.active_runs == 1


def test_no_more_runs_than_allowed_are_open_at_once(schedules: Schedules, connection: DurableConnection) -> None:
    schedules.register(_workflow("@hourly", catchup=True, max_active_runs=2))
    _set_next(connection, "2024-01-01T00:00Z")
    assert [_start(connection), _start(connection)] == [2, 0]
    _end_runs(connection)
    assert _start(connection) == 2
    assert _slots(connection) == ["2024-01-01T00:00", "2024-01-01T01:00", "2024-01-01T02:00", "2024-01-01T03:00"]


def test_without_catchup_only_the_newest_slot_is_started(schedules: Schedules, connection: DurableConnection) -> None:
    schedules.register(_workflow("@hourly", max_active_runs=5))
    _set_next(connection, "2024-01-01T00:00Z")
    assert _start(connection) == 1
    now = ScheduleStore(connection).now()
    slot = connection.value("SELECT slot FROM workflows")
    assert now - timedelta(hours=1, minutes=1) < slot <= now
    assert schedules.find("nightly").next_slot == slot + timedelta(hours=1)


def test_a_start_date_with_catchup_runs_every_interval_since(
    schedules: Schedules, connection: DurableConnection
) -> None:
    started = datetime(2024, 1, 1)  # noqa: DTZ001 - as a document has it; on the wall of the time zone
    workflow = _workflow("0 0 * * *", catchup=True, start_date=started.isoformat(), max_active_runs=2)
    made = schedules.register(workflow, timezone="Europe/Oslo")
    assert made.start_date == datetime(2023, 12, 31, 23, tzinfo=UTC)
    _start(connection)
    assert _slots(connection) == ["2024-01-01T23:00", "2024-01-02T23:00"]
    assert connection.value("SELECT inputs_json::json ->> 'ds' FROM workflows ORDER BY slot LIMIT 1") == "2024-01-01"


def test_a_paused_schedule_starts_nothing_and_makes_up_for_it_later(
    schedules: Schedules, connection: DurableConnection
) -> None:
    schedules.register(_workflow("@hourly", catchup=True, max_active_runs=2))
    _set_next(connection, "2024-01-01T00:00Z")
    schedules.pause("nightly")
    assert _start(connection) == 0
    schedules.unpause("nightly")
    assert _start(connection) == 2


def test_a_schedule_whose_document_cannot_be_used_does_not_hold_up_the_others(
    schedules: Schedules, connection: DurableConnection, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("bad", "good"):
        schedules.register(_workflow(description=name), schedule_id=name)
        _set_next(connection, "2024-01-01T00:00Z", name)
    connection.run(
        "UPDATE workflow_definitions SET definition_json = '{}' FROM schedules s"
        " WHERE s.schedule_id = 'bad' AND s.definition_hash = workflow_definitions.definition_hash"
    )
    starter = SlotStarter(ScheduleStore(connection))
    assert [starter.start_due(), starter.start_due()] == [1, 0]
    assert connection.value("SELECT schedule_id FROM workflows") == "good"
    assert len([one for one in caplog.records if one.levelname == "ERROR" and "'bad'" in one.getMessage()]) == 1


def test_an_interval_whose_time_zone_this_machine_does_not_know_does_not_hold_up_the_others(
    schedules: Schedules, connection: DurableConnection
) -> None:
    schedules.register(_workflow("@every 5m"), schedule_id="abroad")
    schedules.register(_workflow())
    connection.run("UPDATE schedules SET timezone = 'Mars/Olympus' WHERE schedule_id = 'abroad'")
    for schedule_id in ("abroad", "nightly"):
        _set_next(connection, "2024-01-02T06:00Z", schedule_id)
    assert _start(connection) == 1


@pytest.mark.parametrize("schedulers", [2, 5])
def test_every_slot_gets_one_run_however_many_schedulers_there_are(
    schedules: Schedules, connection: DurableConnection, postgres_url: str, schedulers: int
) -> None:
    schedules.register(_workflow("* * * * *", catchup=True, max_active_runs=200))
    _set_next(connection, "2024-01-01T00:00Z")
    connection.run("UPDATE schedules SET max_active_runs = 7")
    barrier, enough, made = threading.Barrier(schedulers), threading.Event(), []

    def schedule() -> None:
        own = DurableConnection(postgres_url)
        starter = SlotStarter(ScheduleStore(own))
        barrier.wait()
        while not enough.is_set():
            made.append(starter.start_due())
        own.close()

    threads = [threading.Thread(target=schedule) for _ in range(schedulers)]
    for thread in threads:
        thread.start()
    deadline, most = time.monotonic() + 60, 0
    while connection.value("SELECT count(*) FROM workflows") < 200 and time.monotonic() < deadline:
        most = max(most, connection.value("SELECT count(*) FROM workflows WHERE status = 'PENDING'"))
        _end_runs(connection)
    enough.set()
    for thread in threads:
        thread.join(60)
    assert 1 <= most <= 7
    slots = _slots(connection)
    assert sum(made) == len(slots) == len(set(slots)) >= 200
    first = datetime(2024, 1, 1)  # noqa: DTZ001
    assert slots == [(first + timedelta(minutes=number)).strftime("%Y-%m-%dT%H:%M") for number in range(len(slots))]


def test_a_schedule_belongs_to_one_scheduler_at_a_time_and_the_next_one_sees_what_it_started(
    schedules: Schedules, connection: DurableConnection, postgres_url: str
) -> None:
    schedules.register(_workflow("@hourly", catchup=True, max_active_runs=2))
    _set_next(connection, "2024-01-01T00:00Z")
    other = ScheduleStore(DurableConnection(postgres_url))
    with other.locked("nightly") as held:
        assert held is not None
        assert _start(connection) == 0
    assert _start(connection) == 2
    with other.locked("nightly") as held:
        assert held is not None
        assert held.active_runs == 2
    schedules.pause("nightly")
    with other.locked("nightly") as held:
        assert held is None


def test_a_schedule_that_is_removed_and_registered_anew_starts_no_slot_twice(
    schedules: Schedules, connection: DurableConnection
) -> None:
    for _ in range(2):
        schedules.register(_workflow("@hourly", catchup=True))
        _set_next(connection, "2024-01-01T00:00Z")
        _start(connection)
        _end_runs(connection)
        schedules.remove("nightly")
    assert _slots(connection) == ["2024-01-01T00:00"]
    assert schedules.all() == []


def test_registering_again_keeps_the_pause_and_the_next_slot(
    schedules: Schedules, connection: DurableConnection
) -> None:
    first = schedules.register(_workflow(is_paused=True))
    schedules.unpause("nightly")
    _set_next(connection, "2024-01-01T06:00Z")
    again = schedules.register(_workflow(is_paused=True, max_active_runs=4))
    assert (again.paused, again.max_active_runs) == (False, 4)
    assert again.next_slot == datetime(2024, 1, 1, 6, tzinfo=UTC)
    other = schedules.register(_workflow("0 7 * * *"))
    assert other.created_at == first.created_at
    assert other.next_slot is not None
    assert other.next_slot.hour == 7


def test_new_times_do_not_go_back_behind_the_newest_slot_that_was_started(
    schedules: Schedules, connection: DurableConnection
) -> None:
    start = {"start_date": "2024-01-01T00:00:00Z", "catchup": True}
    schedules.register(_workflow("@daily", **start))
    connection.run("UPDATE schedules SET last_slot = '2024-02-01T00:00Z'")
    assert schedules.register(_workflow("@hourly", **start)).next_slot == datetime(2024, 2, 1, 1, tzinfo=UTC)


def test_a_trigger_starts_a_run_at_once_beside_the_slots(schedules: Schedules, connection: DurableConnection) -> None:
    schedules.register(_workflow(is_paused=True))
    ids = {schedules.trigger("nightly", "kari"), schedules.trigger("nightly", "kari")}
    rows = connection.fetch("SELECT workflow_id, created_by, slot, status FROM workflows")
    assert {row[0] for row in rows} == ids
    assert {row[1:] for row in rows} == {("kari", None, "PENDING")}
    inputs = json.loads(connection.value("SELECT inputs_json FROM workflows LIMIT 1"))
    assert inputs["data_interval_end"].endswith("T06:00:00+00:00")
    assert inputs["data_interval_start"] < inputs["data_interval_end"] <= inputs["logical_date"]


@pytest.mark.parametrize(
    ("schedule", "options", "said"),
    [
        (None, {}, "has no schedule"),
        ("@daily", {"timezone": "Mars/Olympus"}, "unknown time zone 'Mars/Olympus'"),
        ("@every 5m", {"timezone": "Mars/Olympus"}, "unknown time zone 'Mars/Olympus'"),
        ("@daily", {"schedule_id": "a/b"}, "cannot be the id of a schedule"),
    ],
)
def test_what_cannot_be_registered_says_why(
    schedules: Schedules, schedule: str | None, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ScheduleError, match=said):
        schedules.register(_workflow(schedule, start_date="2024-01-01T00:00:00"), **options)
    assert schedules.all() == []


def test_an_unknown_schedule_is_named_and_the_nearest_one_too(schedules: Schedules) -> None:
    schedules.register(_workflow())
    for deed in (schedules.pause, schedules.unpause, schedules.remove, schedules.find):
        with pytest.raises(ScheduleError, match="no schedule 'nightyl'; did you mean 'nightly'"):
            deed("nightyl")
    with pytest.raises(ScheduleError, match="no schedule 'x'; 'durable schedule list'"):
        schedules.trigger("x", "kari")
