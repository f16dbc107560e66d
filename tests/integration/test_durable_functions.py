"""The queue of DURABLE mode, by SQL: claims, timers, lost leases and limits."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from highway_core.lifecycle import QueueKind, RunStatus, TaskStatus
from highway_core.persistence.statements.transitions import CLAIM
from tests.durable_sql import Sql, at_once, step, task_row

WAITING = TaskStatus.WAITING_FOR_TIMER.value


@pytest.fixture
def sql(each_durable_url: str) -> Iterator[Sql]:
    one = Sql(each_durable_url)
    one.start("r")
    yield one
    one.close()


@pytest.fixture
def other(sql: Sql) -> Iterator[Sql]:
    """A second connection, which gives up rather than wait for the first."""
    one = Sql(sql.url)
    one.run("SET lock_timeout = '2s'")
    yield one
    one.close()


def tasks_of(claimed: list[dict[str, object]]) -> list[object]:
    return [one["t"] for one in claimed]


# -- claims


def test_a_claim_takes_as_many_as_there_are_free_threads_and_no_more(sql: Sql) -> None:
    for number in range(20):
        sql.put("r", f"t{number}")

    assert [len(sql.claim(7)) for _ in range(4)] == [7, 7, 6, 0]


def test_the_claim_of_an_attempt_waits_for_the_disk_and_that_of_a_message_does_not(sql: Sql) -> None:
    """After a crash of the server, an attempt must not be given out again under the number and fence of one that has
    begun."""

    def waits_for_disk() -> bool:
        with sql.connection.transaction():
            sql.value(CLAIM, ["w", 30.0, ["default"], 5, 5])
            return bool(sql.value("SHOW synchronous_commit") == sql.value(usual))

    usual = "SELECT reset_val FROM pg_settings WHERE name = 'synchronous_commit'"
    sql.connection.run("ALTER ROLE CURRENT_USER SET synchronous_commit = 'local'")
    sql.connection.close()
    try:
        sql.put("r", "", QueueKind.WAKE)
        assert not waits_for_disk()
        assert not waits_for_disk()
        sql.put("r", "work")
        assert waits_for_disk()
    finally:
        sql.connection.run("ALTER ROLE CURRENT_USER RESET synchronous_commit")


def test_the_highest_priority_is_claimed_first_and_then_the_oldest(sql: Sql) -> None:
    sql.put("r", "young", created_at_in=-1)
    sql.put("r", "old", created_at_in=-9)
    sql.put("r", "urgent", created_at_in=0, priority=5)
    sql.put("r", "later", created_at_in=-99, priority=-1)

    assert [tasks_of(sql.claim(1)) for _ in range(4)] == [["urgent"], ["old"], ["young"], ["later"]]


def test_messages_need_no_free_thread_and_come_oldest_first(sql: Sql) -> None:
    sql.put("r", "work")
    sql.put("r", "second", QueueKind.WAKE, created_at_in=-1)
    sql.put("r", "first", QueueKind.EVENT, created_at_in=-2, priority=-7)

    assert tasks_of(sql.claim(0, 1)) == ["first"]
    assert tasks_of(sql.claim(0, 9)) == ["second"]
    assert tasks_of(sql.claim(9, 0)) == ["work"]


def test_only_the_queues_that_are_asked_for_are_claimed_from_and_share_the_threads(sql: Sql) -> None:
    for queue in ("default", "gpu", "mail"):
        for number in range(3):
            sql.put("r", f"{queue}{number}", queue=queue, created_at_in=number)

    claimed = sql.claim(5, queues=["mail", "gpu"])

    assert tasks_of(claimed) == ["mail0", "mail1", "mail2", "gpu0", "gpu1"]


def test_what_waits_is_paused_or_is_held_is_not_claimed(sql: Sql) -> None:
    for status in (TaskStatus.RUNNING, TaskStatus.WAITING_FOR_TIMER, TaskStatus.WAITING_FOR_EVENT, RunStatus.PAUSED):
        sql.put("r", status.value, status=status.value)

    assert sql.claim() == []


def test_a_claim_says_what_a_worker_must_know_and_shows_itself_at_the_task(sql: Sql) -> None:
    sql.commit(step("r", 0, 1), new=[task_row("r", "a", TaskStatus.QUEUED)])
    sql.put("r", "a", fence=4, attempt=2, lease_losses=1)
    sql.put("r", "b", QueueKind.CHILD + ":x", payload_json='{"x": 1}')

    message, work = sorted(sql.claim(worker="w1"), key=lambda one: str(one["k"]))

    assert work == {"r": "r", "t": "a", "k": "work", "f": 5, "a": 3, "ll": 1, "v": 1}
    assert message == {
        "r": "r", "t": "b", "k": "child:x", "f": 1, "a": 0, "ll": 0, "v": 1, "pl": '{"x": 1}', "ev": None,
        "evp": None, "run": None,
    }  # fmt: skip
    assert sql.rows("tasks", "task_id", "status", "attempt", "fence", "worker_id") == [("a", "running", 3, 5, "w1")]
    assert sql.value("SELECT started_at IS NOT NULL FROM tasks")
    assert sql.value("SELECT version FROM workflows") == 1
    leases = "SELECT extract(epoch FROM lease_until - clock_timestamp()) FROM task_queue WHERE worker_id = 'w1'"
    assert all(29 < seconds <= 30 for (seconds,) in sql.fetch(leases))


def test_two_workers_never_wait_for_each_other_nor_claim_the_same(sql: Sql, other: Sql) -> None:
    for number in range(10):
        sql.put("r", f"t{number}", created_at_in=number)

    with sql.connection.transaction():
        mine = tasks_of(sql.claim(6))
        theirs = tasks_of(other.claim(6))

    assert mine == [f"t{number}" for number in range(6)]
    assert theirs == [f"t{number}" for number in range(6, 10)]


def test_of_many_workers_at_once_each_row_goes_to_one(sql: Sql) -> None:
    for number in range(240):
        sql.put("r", f"t{number}")

    def take_all(one: Sql) -> list[object]:
        taken: list[object] = []
        while claimed := one.claim(3):
            assert len(claimed) <= 3
            taken += tasks_of(claimed)
        return taken

    taken = [task for tasks in at_once(sql.url, [take_all] * 6) for task in tasks]

    assert len(taken) == len(set(taken)) == 240


def test_the_fence_grows_with_every_claim_and_the_attempt_with_that_of_work(sql: Sql) -> None:
    sql.put("r", "a")
    sql.put("r", "b", QueueKind.WAKE)

    counted = []
    for _ in range(3):
        counted.append(sorted((one["t"], one["f"], one["a"], one["ll"]) for one in sql.claim(lease=-1)))
        assert sql.value("SELECT highway_rescue(10)") == 2

    assert counted == [
        [("a", 1, 1, 0), ("b", 1, 0, 0)],
        [("a", 2, 2, 1), ("b", 2, 0, 1)],
        [("a", 3, 3, 2), ("b", 3, 0, 2)],
    ]


# -- lost leases


def test_only_leases_that_are_over_are_taken_back(sql: Sql) -> None:
    sql.put("r", "lost", status="running", lease_until_in=-1, worker_id="gone", fence=3)
    sql.put("r", "held", status="running", lease_until_in=60, worker_id="w", fence=3)

    assert sql.value("SELECT highway_rescue(10)") == 1

    assert sql.rows("task_queue", "task_id", "status", "fence", "lease_losses", "worker_id", "lease_until IS NULL") == [
        ("held", "running", 3, 0, "w", False),
        ("lost", "QUEUED", 3, 1, None, True),
    ]
    assert sql.rows("counters", "name", "value") == [("leases_lost", 1)]
    assert sql.value("SELECT highway_rescue(10)") == 0


def test_a_rescue_is_bounded_and_any_number_may_rescue_at_once(sql: Sql) -> None:
    for number in range(25):
        sql.put("r", f"t{number}", status="running", lease_until_in=-1)

    assert sum(at_once(sql.url, [lambda one: one.value("SELECT highway_rescue(4)")] * 5)) == 20

    assert sql.value("SELECT highway_rescue(100)") == 5
    assert sql.value("SELECT value FROM counters WHERE name = 'leases_lost'") == 25


# -- timers


def test_only_what_is_due_wakes_and_stands_where_it_was_due(sql: Sql) -> None:
    sql.put("r", "due", QueueKind.WAKE, status=WAITING, due_at_in=-5)
    sql.put("r", "deadline", QueueKind.EVENT, status="WAITING_FOR_EVENT", due_at_in=-9, event_name="paid")
    sql.put("r", "future", QueueKind.WAKE, status=WAITING, due_at_in=60)
    sql.put("r", "paused", QueueKind.WAKE, status="PAUSED", due_at_in=-5)
    sql.put("r", "forever", QueueKind.EVENT, status="WAITING_FOR_EVENT", event_name="paid")

    assert sql.value("SELECT highway_wake(10)") == 2
    assert sql.value("SELECT highway_wake(10)") == 0

    assert tasks_of(sql.claim()) == ["deadline", "due"]
    assert sql.value("SELECT count(*) FROM task_queue WHERE status = %s AND due_at IS NOT NULL", ["running"]) == 0


def test_a_wake_up_is_bounded_takes_the_longest_due_and_may_race(sql: Sql) -> None:
    for number in range(20):
        sql.put("r", f"t{number:02}", QueueKind.WAKE, status=WAITING, due_at_in=number - 100)

    assert sql.value("SELECT highway_wake(3)") == 3
    assert sorted(map(str, tasks_of(sql.claim()))) == ["t00", "t01", "t02"]
    assert sum(at_once(sql.url, [lambda one: one.value("SELECT highway_wake(100)")] * 4)) == 17


# -- limits


def limit(sql: Sql, queue: str = "default", **columns: float) -> None:
    sql.run(
        f"INSERT INTO queue_limits (scope, name, {', '.join(columns)}) VALUES ('queue', %s{', %s' * len(columns)})",
        [queue, *columns.values()],
    )


def test_a_queue_carries_out_no_more_at_once_than_its_limit(sql: Sql) -> None:
    limit(sql, max_running=3)
    for number in range(8):
        sql.put("r", f"t{number}", created_at_in=number)
        sql.put("r", f"free{number}", queue="unlimited")
        sql.put("r", f"m{number}", QueueKind.WAKE)

    assert tasks_of(sql.claim(2, 0)) == ["t0", "t1"]
    assert tasks_of(sql.claim(5, 0)) == ["t2"]
    assert sql.claim(5, 0) == []
    assert len(sql.claim(0, 99)) == 8
    assert len(sql.claim(9, 0, queues=["unlimited"])) == 8

    sql.run("DELETE FROM task_queue WHERE task_id = 't1'")

    assert tasks_of(sql.claim(5, 0)) == ["t3"]


def test_many_workers_at_once_do_not_pass_the_limit(sql: Sql) -> None:
    limit(sql, max_running=5)
    for number in range(30):
        sql.put("r", f"t{number}")

    assert sum(at_once(sql.url, [lambda one: len(one.claim(4, 0))] * 6)) == 5


def test_a_rate_is_kept_whatever_asks_and_saves_up_one_second_at_most(sql: Sql) -> None:
    limit(sql, rate_per_second=10)
    for number in range(50):
        sql.put("r", f"t{number}")

    def seconds_pass(seconds: float) -> None:
        sql.run("UPDATE queue_limits SET refilled_at = refilled_at - %s * interval '1 second'", [seconds])

    # Between two statements of a busy machine a token or two more may come.
    sql.run("UPDATE queue_limits SET refilled_at = clock_timestamp()")
    assert len(sql.claim(40, 0)) <= 3
    sql.run("UPDATE queue_limits SET tokens = 0, refilled_at = clock_timestamp()")
    seconds_pass(0.5)
    assert 5 <= sum(at_once(sql.url, [lambda one: len(one.claim(4, 0))] * 5)) <= 9
    seconds_pass(60)
    assert len(sql.claim(40, 0)) == 10
    assert len(sql.claim(40, 0)) <= 3
    seconds_pass(60)
    assert len(sql.claim(2, 0)) == 2
    assert 8 <= len(sql.claim(40, 0)) <= 10


def test_a_slow_rate_lets_one_through_in_the_end(sql: Sql) -> None:
    limit(sql, rate_per_second=0.1)
    sql.put("r", "a")
    sql.run("UPDATE queue_limits SET refilled_at = clock_timestamp() - interval '9 seconds'")
    assert sql.claim(1, 0) == []
    sql.run("UPDATE queue_limits SET refilled_at = refilled_at - interval '1 second'")

    assert tasks_of(sql.claim(1, 0)) == ["a"]


def test_an_idle_queue_uses_up_no_rate_and_writes_nothing(sql: Sql) -> None:
    limit(sql, rate_per_second=5, tokens=5)
    before = sql.rows("queue_limits", "tokens", "refilled_at", "xmin::text")

    assert [sql.claim(3, 3) for _ in range(4)] == [[]] * 4

    assert sql.rows("queue_limits", "tokens", "refilled_at", "xmin::text") == before
