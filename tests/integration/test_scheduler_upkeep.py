"""What a Scheduler does to rows: waking, rescuing, repairing, and letting go of what is old."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from highway_core.config import Settings
from highway_core.lifecycle import RUN_FINAL, RunStatus, TaskStatus
from highway_core.persistence.durable_connection import DurableConnection
from highway_core.persistence.schema import require_schema
from highway_core.persistence.upkeep import REPAIRED, Upkeep
from highway_core.services.scheduler import Scheduler
from tests.durable_rows import Rows

_DAY = 86_400.0


@pytest.fixture
def connection(postgres_url: str) -> Iterator[DurableConnection]:
    require_schema(postgres_url)
    connection = DurableConnection(postgres_url)
    yield connection
    connection.close()


@pytest.fixture
def rows(connection: DurableConnection) -> Rows:
    return Rows(connection)


@pytest.fixture
def scheduler(connection: DurableConnection, postgres_url: str) -> Iterator[Scheduler]:
    scheduler = Scheduler(replace(Settings(), database_url=postgres_url, retention_days=30))
    yield scheduler
    scheduler.close()


def test_what_is_due_is_woken_and_what_is_not_sleeps_on(rows: Rows, scheduler: Scheduler) -> None:
    rows.run("r")
    rows.queue("r", "past", due_in=-1)
    rows.queue("r", "event_timeout", "event", "WAITING_FOR_EVENT", due_in=-1)
    rows.queue("r", "future", due_in=60)
    rows.queue("r", "paused", status="PAUSED", due_in=-1)
    rows.queue("r", "for_ever", "event", "WAITING_FOR_EVENT", event="never")
    assert scheduler.poll_for_runnable_tasks() == 2
    assert [row[1] for row in rows.queued()] == ["event_timeout", "past"]
    assert scheduler.poll_for_runnable_tasks() == 0


def test_more_than_a_batch_is_woken_in_one_pass(rows: Rows, scheduler: Scheduler) -> None:
    rows.run("r")
    rows.connection.run(
        "INSERT INTO task_queue (workflow_id, task_id, kind, status, due_at)"
        " SELECT 'r', 't' || n, 'wake', 'WAITING_FOR_TIMER', clock_timestamp() FROM generate_series(1, 2500) AS n"
    )
    assert scheduler.poll_for_runnable_tasks() == 2500


def test_work_of_a_dead_worker_is_queued_again_and_its_fence_grows_on(rows: Rows, scheduler: Scheduler) -> None:
    rows.run("r")
    rows.queue("r", "dead", "work", "running", lease=-1)
    rows.queue("r", "alive", "work", "running", lease=60)
    assert scheduler.poll_for_waiting_tasks() == 1
    assert rows.queued() == [("r", "dead", "work")]
    row = rows.connection.fetch("SELECT fence, lease_losses, worker_id FROM task_queue WHERE task_id = 'dead'")
    assert row == [(4, 1, None)]
    assert rows.counter("leases_lost") == 1


def test_a_pass_does_all_that_is_due_and_then_nothing(rows: Rows, scheduler: Scheduler) -> None:
    rows.run("r")
    rows.queue("r", "past", due_in=-1)
    rows.queue("r", "dead", "work", "running", lease=-1)
    rows.run("lost")
    assert scheduler.run_once() == 3
    assert len(rows.queued()) == 3
    assert scheduler.run_once() == 0


@pytest.mark.parametrize("status", [TaskStatus.QUEUED, TaskStatus.RUNNING])
def test_a_task_without_a_row_in_the_queue_gets_one(rows: Rows, scheduler: Scheduler, status: TaskStatus) -> None:
    rows.run("r")
    rows.task("r", "lost", status.value, attempt=2)
    rows.task("r", "fine", status.value)
    rows.queue("r", "fine", "work", "QUEUED")
    rows.task("r", "over", "completed")
    assert scheduler.poll_for_completed_workflows() == 1
    row = rows.connection.fetch("SELECT kind, status, attempt, fence, priority FROM task_queue WHERE task_id = 'lost'")
    assert row == [("work", "QUEUED", 2, 6, 7)], "an answer of an attempt before is refused by its fence"
    assert rows.counter(REPAIRED) == 1
    assert scheduler.poll_for_completed_workflows() == 0


@pytest.mark.parametrize("status", ["PENDING", "running"])
def test_an_open_run_that_nobody_will_look_at_is_looked_at(rows: Rows, scheduler: Scheduler, status: str) -> None:
    rows.run("lost", status)
    rows.run("sleeps", status)
    rows.queue("sleeps", "wait", due_in=600)
    rows.run("parent", status)
    rows.task("parent", "child", "WAITING_FOR_CHILDREN")
    for over in sorted(RUN_FINAL | {RunStatus.PAUSED}):
        rows.run(over.value, over.value)
    rows.connection.run(
        "INSERT INTO workflows (workflow_id, workflow_name, mode, status, start_time, updated_at, owner)"
        " SELECT 'local', 'l', 'LOCAL', 'running', '2020-01-01', '2020-01-01', ''"
    )
    assert scheduler.poll_for_completed_workflows() == 1
    assert rows.queued() == [("lost", "", "start")]
    assert rows.counter(REPAIRED) == 1


def test_what_was_written_a_moment_ago_is_left_alone(rows: Rows, scheduler: Scheduler) -> None:
    rows.run("young", age=1)
    rows.run("busy")
    rows.task("busy", "young", "QUEUED", age=1)
    rows.task("busy", "waits", "WAITING_FOR_CHILDREN")
    assert scheduler.poll_for_completed_workflows() == 0
    assert rows.queued() == []


def test_a_run_in_the_middle_of_a_transition_is_left_alone(rows: Rows, scheduler: Scheduler, postgres_url: str) -> None:
    rows.run("r")
    rows.task("r", "lost", "QUEUED")
    other = DurableConnection(postgres_url)
    with other.transaction():
        other.run("SELECT 1 FROM workflows WHERE workflow_id = 'r' FOR NO KEY UPDATE")
        assert scheduler.poll_for_completed_workflows() == 0
    other.close()
    assert scheduler.poll_for_completed_workflows() == 1


def test_what_a_transition_put_right_before_the_lock_was_ours_is_not_repaired(
    rows: Rows, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows.run("r")
    rows.task("r", "slow", "QUEUED")
    locked = Upkeep._repair

    def meanwhile(upkeep: Upkeep, run_id: str, age: float) -> int:
        rows.queue("r", "slow", "work", "running", lease=60)
        return locked(upkeep, run_id, age)

    monkeypatch.setattr(Upkeep, "_repair", meanwhile)
    assert scheduler.poll_for_completed_workflows() == 0
    assert rows.waiting() == [("r", "slow", "work")]
    assert rows.counter(REPAIRED) == 0


def test_who_waits_for_an_event_that_has_come_is_called(rows: Rows, scheduler: Scheduler) -> None:
    rows.run("r")
    for name in ("come", "never"):
        rows.queue("r", name, "event", "WAITING_FOR_EVENT", event=name)
    rows.connection.run("INSERT INTO events (name, payload_json) VALUES ('come', '1'), ('come', '2'), ('other', '3')")
    assert scheduler.poll_for_completed_workflows() == 1
    assert rows.queued() == [("r", "come", "event")]


def test_old_runs_go_with_everything_of_theirs_and_open_ones_stay(rows: Rows, scheduler: Scheduler) -> None:
    for name, status, days in (("old", "completed", 31), ("young", "failed", 29), ("open", "running", 99)):
        rows.run(name, status, age=days * _DAY)
        rows.task(name, "t", "completed")
        rows.connection.run(
            "INSERT INTO event_log (workflow_id, seq, at, kind) VALUES (%s, 1, clock_timestamp(), 'run.PENDING')",
            (name,),
        )
        rows.connection.run(
            "INSERT INTO workflow_memory (id, workflow_id, memory_key, created_at, updated_at)"
            " VALUES (0, %s, 'k', clock_timestamp(), clock_timestamp())",
            (name,),
        )
        rows.connection.run(
            "INSERT INTO idempotency_keys (key, workflow_id, payload_hash, created_at)"
            " VALUES (%s, %s, '', clock_timestamp() - %s * interval '1 day')",
            (name, name, days),
        )
    assert scheduler.delete_what_is_old() == 1
    for table in ("workflows", "tasks", "event_log", "workflow_memory"):
        left = rows.connection.fetch(f"SELECT DISTINCT workflow_id FROM {table} ORDER BY 1")
        assert left == [("open",), ("young",)], table
    keys = rows.connection.fetch("SELECT key FROM idempotency_keys ORDER BY 1")
    assert keys == [("old",), ("open",), ("young",)], "a key outlives its run"
    assert scheduler.delete_what_is_old() == 0


def test_a_run_whose_parent_or_child_is_open_stays(rows: Rows, scheduler: Scheduler) -> None:
    old = 40 * _DAY
    rows.run("open_parent", "PAUSED", age=old)
    rows.run("its_child", "completed", age=old, parent="open_parent")
    rows.run("ended_parent", "completed", age=old)
    rows.run("its_open_child", "running", age=old, parent="ended_parent")
    assert scheduler.delete_what_is_old() == 0
    rows.connection.run("UPDATE workflows SET status = 'failed', end_time = start_time")
    assert scheduler.delete_what_is_old() == 4


def test_runs_go_in_small_batches(rows: Rows, scheduler: Scheduler) -> None:
    for number in range(45):
        rows.run(f"r{number}", "completed", age=40 * _DAY)
    assert [scheduler.delete_what_is_old() for _ in range(4)] == [20, 20, 5, 0]


def test_keys_go_after_ten_times_as_long(rows: Rows, scheduler: Scheduler) -> None:
    rows.run("kept", "running", age=0)
    rows.connection.run(
        "INSERT INTO idempotency_keys (key, workflow_id, payload_hash, created_at) SELECT name, name, '',"
        " clock_timestamp() - days * interval '1 day'"
        " FROM (VALUES ('a', 299), ('b', 301), ('kept', 400)) AS x(name, days)"
    )
    assert scheduler.delete_what_is_old() == 1
    assert rows.connection.fetch("SELECT key FROM idempotency_keys ORDER BY 1") == [("a",), ("kept",)]


def test_events_go_unless_a_run_that_was_open_then_may_still_ask_for_them(rows: Rows, scheduler: Scheduler) -> None:
    rows.connection.run(
        "INSERT INTO events (name, payload_json, created_at) SELECT days::text, '1',"
        " clock_timestamp() - days * interval '1 day' FROM unnest(ARRAY[70, 50, 10]) AS days"
    )
    rows.run("long", "running", age=60 * _DAY)
    assert scheduler.delete_what_is_old() == 1
    assert rows.connection.fetch("SELECT name FROM events ORDER BY name") == [("10",), ("50",)]
    rows.connection.run("UPDATE workflows SET status = 'completed', end_time = clock_timestamp()")
    assert scheduler.delete_what_is_old() == 1
    assert rows.connection.fetch("SELECT name FROM events") == [("10",)]


def test_without_a_setting_everything_is_kept(connection: DurableConnection, postgres_url: str) -> None:
    Rows(connection).run("old", "completed", age=9999 * _DAY)
    scheduler = Scheduler(replace(Settings(), database_url=postgres_url))
    assert scheduler.delete_what_is_old() == 0
    scheduler.close()


def test_a_run_that_an_operator_reopens_meanwhile_is_not_deleted(
    rows: Rows, scheduler: Scheduler, postgres_url: str
) -> None:
    rows.run("reopened", "failed", age=40 * _DAY)
    other = DurableConnection(postgres_url)
    with other.transaction():
        other.run("UPDATE workflows SET status = 'running', end_time = NULL")
        assert scheduler.delete_what_is_old() == 0
    other.close()
    assert scheduler.delete_what_is_old() == 0
    assert rows.connection.value("SELECT status FROM workflows") == "running"
