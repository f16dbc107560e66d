"""The circuit breakers of DURABLE mode: many processes, one breaker."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from highway_core.engine.breakers import Breaker
from highway_core.engine.durable.breakers import SharedBreakers
from highway_core.engine.policies import CircuitBreakerPolicy
from highway_core.errors import ConnectionLostError, StorageError, TaskStoppedError
from highway_core.lifecycle import TaskStatus
from highway_core.persistence.breaker_store import Admission, BreakerCall, BreakerStore, Thresholds
from highway_core.persistence.durable_connection import ConnectionPool
from tests.durable_sql import Sql, at_once
from tests.tool_context import context_with

POLICY = CircuitBreakerPolicy(failure_threshold=3, success_threshold=2, isolation_duration=timedelta(minutes=10))


@pytest.fixture
def sql(each_durable_url: str) -> Iterator[Sql]:
    one = Sql(each_durable_url)
    one.start("r")
    yield one
    one.close()


class Process:
    """One of several processes, each with connections of its own."""

    def __init__(self, sql: Sql) -> None:
        self._pool = ConnectionPool(sql.url)
        self._breakers = SharedBreakers(BreakerStore(self._pool))

    def call(
        self, path: str = "t", *, task: str = "t", workflow: str = "w", fence: int = 1, policy: object = POLICY
    ) -> Breaker:
        context = context_with()
        context.run_id, context.workflow_name, context.task_id = "r", workflow, path
        assert isinstance(policy, CircuitBreakerPolicy)
        return self._breakers.of(task, policy, context, fence)

    def fails(self, times: int = 1, **names: str) -> None:
        for _ in range(times):
            call = self.call(**names)
            assert call.is_request_allowed()
            call.record_failure()

    def is_open(self, **names: str) -> bool:
        return not self.call(**names).is_request_allowed()

    def close(self) -> None:
        self._pool.close()


@pytest.fixture
def processes(sql: Sql) -> Iterator[list[Process]]:
    three = [Process(sql) for _ in range(3)]
    yield three
    for one in three:
        one.close()


def lease(sql: Sql, path: str, fence: int = 1) -> None:
    """The attempt is being carried out."""
    sql.put("r", path, status=TaskStatus.RUNNING.value, fence=fence, lease_until_in=30)


def isolation_ends(sql: Sql) -> None:
    sql.run("UPDATE circuit_breakers SET isolated_until = clock_timestamp() - interval '1 second'")


def test_failures_in_a_row_are_counted_over_all_processes(processes: list[Process]) -> None:
    one, two, three = processes
    one.fails()
    two.fails()
    assert not three.is_open()
    three.fails()

    assert [process.is_open() for process in processes] == [True] * 3
    assert not one.is_open(task="other")
    assert not one.is_open(workflow="other")


def test_a_success_begins_the_count_anew(processes: list[Process]) -> None:
    one, two, _ = processes
    one.fails(2)
    good = two.call()
    assert good.is_request_allowed()
    good.record_success()
    one.fails(2)

    assert not two.is_open()


def test_what_tells_nothing_changes_nothing(sql: Sql, processes: list[Process]) -> None:
    one = processes[0]
    one.fails(2)
    for _ in range(5):
        call = one.call()
        assert call.is_request_allowed()
        call.record_nothing()
    one.fails()

    assert one.is_open()


def test_a_task_that_never_failed_leaves_no_row(sql: Sql, processes: list[Process]) -> None:
    call = processes[0].call()
    assert call.is_request_allowed()
    call.record_success()

    assert sql.rows("circuit_breakers", "task_id") == []


def test_failures_at_the_same_time_are_all_counted(sql: Sql) -> None:
    policy = CircuitBreakerPolicy(failure_threshold=40)

    def fail(one: Sql) -> None:
        process = Process(one)
        for _ in range(5):
            call = process.call(policy=policy)
            assert call.is_request_allowed()
            call.record_failure()
        process.close()

    at_once(sql.url, [fail] * 7)
    assert sql.rows("circuit_breakers", "failures", "isolations") == [(35, 0)]
    at_once(sql.url, [fail])

    assert sql.rows("circuit_breakers", "isolations") == [(1,)]


def test_after_the_isolation_one_process_makes_a_trial_call(sql: Sql, processes: list[Process]) -> None:
    processes[0].fails(3)
    paths = [f"t{number}" for number in range(8)]
    for path in paths:
        lease(sql, path)
    isolation_ends(sql)

    def ask(path: str) -> object:
        process = Process(sql)
        try:
            return process.call(path).is_request_allowed()
        finally:
            process.close()

    allowed = at_once(sql.url, [lambda _, path=path: ask(path) for path in paths])  # type: ignore[misc]

    assert sorted(map(bool, allowed)) == [False] * 7 + [True]


def test_trials_in_a_row_close_the_breaker_and_a_failed_one_isolates_again(sql: Sql, processes: list[Process]) -> None:
    one, two, three = processes
    lease(sql, "t")
    one.fails(3)
    for outcome in (True, False, True, True):
        isolation_ends(sql)
        trial = two.call()
        assert trial.is_request_allowed()
        assert three.is_open()
        trial.record_success() if outcome else trial.record_failure()
        assert three.is_open() or outcome
        if outcome:
            sql.run("UPDATE circuit_breakers SET trial_run = NULL")

    assert sql.rows("circuit_breakers", "isolated_until", "isolations", "failures") == [(None, 2, 0)]
    one.fails(2)
    assert not two.is_open()


def test_a_trial_that_tells_nothing_leaves_the_next_one_to_others(sql: Sql, processes: list[Process]) -> None:
    lease(sql, "t")
    lease(sql, "u")
    processes[0].fails(3)
    isolation_ends(sql)
    trial = processes[0].call("t")
    assert trial.is_request_allowed()
    trial.record_nothing()

    assert processes[1].call("u").is_request_allowed()
    assert processes[2].is_open(path="t")


@pytest.mark.parametrize("end", ["consumed", "given back", "claimed again"])
def test_a_trial_ends_with_the_lease_of_its_attempt(sql: Sql, processes: list[Process], end: str) -> None:
    one, two, _ = processes
    one.fails(3)
    lease(sql, "t")
    lease(sql, "u")
    isolation_ends(sql)
    lost = one.call("t")
    assert lost.is_request_allowed()
    assert two.is_open(path="u")
    match end:
        case "consumed":
            sql.run("DELETE FROM task_queue WHERE task_id = 't'")
        case "given back":
            sql.run("UPDATE task_queue SET status = 'QUEUED' WHERE task_id = 't'")
        case _:
            sql.run("UPDATE task_queue SET fence = 2 WHERE task_id = 't'")

    assert two.call("u").is_request_allowed()
    lost.record_failure()  # nobody asks it any more
    assert sql.rows("circuit_breakers", "isolations", "trial_path") == [(1, "u")]


def test_a_call_from_before_the_isolation_is_not_heard_after_it(sql: Sql, processes: list[Process]) -> None:
    one, two, _ = processes
    lease(sql, "t")
    late = [one.call() for _ in range(2)]
    assert all(call.is_request_allowed() for call in late)
    two.fails(3)
    isolation_ends(sql)
    late[0].record_failure()
    late[1].record_success()

    assert sql.rows("circuit_breakers", "isolations", "failures", "successes") == [(1, 3, 0)]
    for _ in range(2):
        trial = two.call()
        assert trial.is_request_allowed()
        trial.record_success()
    late[0].record_failure()
    assert sql.rows("circuit_breakers", "isolations", "failures") == [(1, 0)]


class Flaky:
    """A store whose database is away for so many calls."""

    def __init__(self, away: int, error: type[StorageError] = ConnectionLostError) -> None:
        self.away = away
        self.error = error
        self.recorded: list[bool | None] = []

    def admit(self, call: BreakerCall) -> Admission | None:
        self._answer()
        return Admission(0, on_trial=False)

    def record(self, call: BreakerCall, admission: Admission, good: bool | None, thresholds: Thresholds) -> None:
        self._answer()
        self.recorded.append(good)

    def _answer(self) -> None:
        self.away -= 1
        if self.away >= 0:
            raise self.error("away")


def test_a_call_waits_for_a_database_that_comes_back() -> None:
    call = SharedBreakers(Flaky(1)).of("t", POLICY, context_with(), 1)
    assert call.is_request_allowed()


def test_a_call_that_waits_for_the_database_is_stopped_with_its_attempt() -> None:
    context = context_with()
    context.stop.stop("its lease was lost")
    call = SharedBreakers(Flaky(99)).of("t", POLICY, context, 1)
    with pytest.raises(TaskStoppedError, match="its lease was lost"):
        call.is_request_allowed()


def test_an_outcome_that_cannot_be_recorded_fails_nobody() -> None:
    store = Flaky(0)
    call = SharedBreakers(store).of("t", POLICY, context_with(), 1)
    call.record_success()  # it was never let through
    assert call.is_request_allowed()
    store.away = 1
    call.record_failure()
    assert store.recorded == [False]
    store.away = 2
    call.record_failure()
    store.away, store.error = 1, StorageError
    call.record_success()

    assert store.recorded == [False]
