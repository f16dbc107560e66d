"""Limits of workflows, by SQL: how many tasks of all runs of one name are carried out at once, and how fast."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from highway_core.lifecycle import QueueKind, TaskStatus
from highway_core.persistence.durable_connection import ConnectionPool
from highway_core.persistence.limit_store import Limit, Limited, LimitStore
from tests.durable_plans import fill, seen, watch
from tests.durable_sql import Sql, at_once, begin, run_row, waits
from tests.waiting import eventually

RUNNING = """
    SELECT count(*) FILTER (WHERE workflow_id IN ('a1', 'a2')), count(*) FILTER (WHERE workflow_id = 'b'),
           count(*) FILTER (WHERE queue = 'other') FROM task_queue WHERE status = 'running'"""


@pytest.fixture
def sql(each_durable_url: str) -> Iterator[Sql]:
    one = Sql(each_durable_url)
    begin_run(one, "a1", "alpha")
    begin_run(one, "a2", "alpha", queue="other")
    begin_run(one, "b", "beta")
    yield one
    one.close()


@pytest.fixture
def limits(sql: Sql) -> Iterator[LimitStore]:
    pool = ConnectionPool(sql.url)
    yield LimitStore(pool)
    pool.close()


def begin_run(sql: Sql, run: str, name: str, queue: str = "default") -> None:
    sql.submit(run_row(run, name=name, queue=queue))
    sql.run("DELETE FROM task_queue WHERE kind = %s AND workflow_id = %s", [QueueKind.START, run])


def put(sql: Sql, run: str, amount: int, **columns: Any) -> None:
    """Work of a run, the first one the oldest."""
    for number in range(amount):
        sql.put(run, f"t{number}", created_at_in=number - 1000, **columns)


def names(claimed: list[dict[str, Any]]) -> list[str]:
    return [f"{one['r']}.{one['t']}" for one in claimed]


def ends(sql: Sql, run: str, task: str) -> None:
    sql.run("DELETE FROM task_queue WHERE workflow_id = %s AND task_id = %s", [run, task])


def seconds_pass(sql: Sql, seconds: float) -> None:
    sql.run("UPDATE queue_limits SET refilled_at = refilled_at - %s * interval '1 second'", [seconds])


def again(sql: Sql, slots: int = 10, queue: str = "default") -> float | None:
    """In how many seconds a claim, which is made, says that there will be more."""
    found = sql.value("SELECT highway_claim('w', 30, %s, %s, 0)", [[queue], slots])["again"]
    assert found is None or isinstance(found, int | float)
    return found


def test_all_runs_of_a_workflow_share_its_limit_in_whatever_queue_they_stand(sql: Sql, limits: LimitStore) -> None:
    limits.put(Limit("workflow", "alpha", max_running=3))
    put(sql, "a1", 5)
    put(sql, "a2", 5, queue="other")
    put(sql, "b", 5)

    assert names(sql.claim(2, 0, queues=["other"])) == ["a2.t0", "a2.t1"]
    assert sorted(names(sql.claim(9, 0))) == ["a1.t0", "b.t0", "b.t1", "b.t2", "b.t3", "b.t4"]
    assert sql.claim(9, 0, queues=["default", "other"]) == []
    ends(sql, "b", "t0")
    assert sql.claim(9, 0, queues=["default", "other"]) == []
    ends(sql, "a1", "t0")
    ends(sql, "a2", "t0")

    assert sorted(names(sql.claim(9, 0, queues=["default", "other"]))) == ["a1.t1", "a1.t2"]


def test_what_may_not_begin_keeps_nobody_behind_it(sql: Sql, limits: LimitStore) -> None:
    limits.put(Limit("workflow", "alpha", max_running=1))
    put(sql, "a1", 700, priority=9)
    put(sql, "b", 3)

    assert names(sql.claim(2, 0)) == ["a1.t0", "b.t0"]
    assert names(sql.claim(2, 0)) == ["b.t1", "b.t2"]
    assert sql.claim(2, 0) == []


def test_more_than_one_claim_may_set_apart_is_set_apart_by_the_next(sql: Sql, limits: LimitStore) -> None:
    limits.put(Limit("workflow", "alpha", max_running=1))
    sql.run(
        "INSERT INTO task_queue (workflow_id, task_id, kind, status, priority)"
        " SELECT 'a1', 't' || n, 'work', 'QUEUED', 9 FROM generate_series(1, 6000) AS n"
    )
    put(sql, "b", 1)

    assert again(sql) == 0
    assert again(sql) is None
    assert sql.fetch("SELECT workflow_id, count(*) FROM task_queue WHERE status = 'running' GROUP BY 1 ORDER BY 1") == [
        ("a1", 1),
        ("b", 1),
    ]


def test_priority_and_age_decide_among_limited_and_other_work(sql: Sql, limits: LimitStore) -> None:
    limits.put(Limit("workflow", "alpha", max_running=2))
    for run, task, priority, age in (
        ("a1", "old", 0, -9),
        ("b", "older", 0, -10),
        ("a1", "urgent", 5, -1),
        ("b", "urgent", 5, -2),
        ("a1", "young", 0, 0),
        ("b", "young", 0, 0),
    ):
        sql.put(run, task, priority=priority, created_at_in=age)

    assert [names(sql.claim(1, 0)) for _ in range(6)] == [
        ["b.urgent"],
        ["a1.urgent"],
        ["b.older"],
        ["a1.old"],
        ["b.young"],
        [],
    ]


def test_both_limits_hold_where_there_are_two(sql: Sql, limits: LimitStore) -> None:
    limits.put(Limit("workflow", "alpha", max_running=2))
    limits.put(Limit("queue", "default", max_running=3))
    put(sql, "a1", 5)
    put(sql, "b", 5)

    assert sorted(names(sql.claim(9, 0))) == ["a1.t0", "a1.t1", "b.t0"]
    ends(sql, "b", "t0")
    assert names(sql.claim(9, 0)) == ["b.t1"]
    ends(sql, "a1", "t0")
    assert names(sql.claim(1, 0)) in (["a1.t2"], ["b.t2"])


def test_many_workers_at_once_never_pass_a_limit_and_leave_nothing(sql: Sql, limits: LimitStore) -> None:
    limits.put(Limit("workflow", "alpha", max_running=3))
    limits.put(Limit("workflow", "beta", max_running=4))
    limits.put(Limit("queue", "other", max_running=2))
    put(sql, "a1", 40)
    put(sql, "a2", 40, queue="other")
    put(sql, "b", 40)
    running: list[tuple[Any, ...]] = []

    def work(one: Sql, queues: list[str]) -> None:
        for _ in range(40):
            for claim in one.claim(2, 0, queues=queues):
                running.extend(one.fetch(RUNNING))
                ends(one, claim["r"], claim["t"])

    at_once(sql.url, [lambda one: work(one, ["default", "other"]), lambda one: work(one, ["other", "default"])] * 3)
    while claimed := sql.claim(9, 0, queues=["default", "other"]):
        for claim in claimed:
            ends(sql, claim["r"], claim["t"])

    assert sql.value("SELECT count(*) FROM task_queue") == 0
    alpha, beta, other = (max(column) for column in zip(*running, strict=True))
    assert alpha <= 3
    assert beta <= 4
    assert other <= 2


def test_what_a_lost_worker_had_counts_until_it_is_taken_back(sql: Sql, limits: LimitStore) -> None:
    limits.put(Limit("workflow", "alpha", max_running=1))
    put(sql, "a1", 2)
    assert names(sql.claim(9, 0, lease=-1)) == ["a1.t0"]
    assert sql.claim(9, 0) == []
    assert sql.value("SELECT highway_rescue(9)") == 1

    assert len(sql.claim(9, 0)) == 1


def test_work_that_was_begun_without_a_claim_counts_too(sql: Sql, limits: LimitStore) -> None:
    sql.put("a1", "taken_over", status=TaskStatus.RUNNING.value)
    limits.put(Limit("workflow", "alpha", max_running=2))
    put(sql, "a1", 3)

    assert names(sql.claim(9, 0)) == ["a1.t0"]


def test_messages_have_no_limit(sql: Sql, limits: LimitStore) -> None:
    limits.put(Limit("workflow", "alpha", max_running=1))
    for number in range(5):
        sql.put("a1", f"m{number}", QueueKind.WAKE)

    assert len(sql.claim(0, 9)) == 5
    put(sql, "a1", 2)
    assert names(sql.claim(9, 0)) == ["a1.t0"]


# -- rates


def test_a_rate_of_a_workflow_is_kept_and_says_when_there_is_more(sql: Sql, limits: LimitStore) -> None:
    limits.put(Limit("workflow", "alpha", rate_per_second=0.5))
    put(sql, "a1", 6)
    put(sql, "b", 2)

    assert sorted(names(sql.claim(9, 0))) == ["a1.t0", "b.t0", "b.t1"]
    wait = again(sql)
    assert wait is not None
    assert 1.5 < wait <= 2
    seconds_pass(sql, 2)
    assert names(sql.claim(9, 0)) == ["a1.t1"]
    seconds_pass(sql, 600)
    assert names(sql.claim(9, 0)) == ["a1.t2"]  # a pause saves up one


def test_a_rate_that_held_nothing_back_says_nothing(sql: Sql, limits: LimitStore) -> None:
    limits.put(Limit("workflow", "alpha", rate_per_second=1))
    limits.put(Limit("queue", "default", rate_per_second=1))
    put(sql, "a2", 1, queue="other")
    assert again(sql, queue="other") == pytest.approx(1, abs=0.5)  # there might be another
    seconds_pass(sql, 1)
    assert again(sql, queue="other") is None
    assert again(sql) is None


def test_a_queue_that_waits_for_its_rate_says_when_there_is_more(sql: Sql, limits: LimitStore) -> None:
    limits.put(Limit("queue", "default", rate_per_second=10))
    put(sql, "b", 30)

    assert again(sql, slots=3) is None  # there is more at once
    wait = again(sql, slots=50)
    assert wait is not None
    assert 0 < wait <= 0.1


def test_only_what_was_begun_uses_up_a_rate(sql: Sql, limits: LimitStore) -> None:
    limits.put(Limit("queue", "default", rate_per_second=5))
    limits.put(Limit("workflow", "alpha", max_running=1))
    put(sql, "a1", 9)

    assert names(sql.claim(9, 0)) == ["a1.t0"]
    assert sql.value("SELECT tokens FROM queue_limits WHERE scope = 'queue'") == pytest.approx(4, abs=0.5)


# -- changed at run time


def test_a_limit_can_be_raised_lowered_and_taken_away_at_any_time(sql: Sql, limits: LimitStore) -> None:
    put(sql, "a1", 12)
    assert len(sql.claim(4, 0)) == 4
    limits.put(Limit("workflow", "alpha", max_running=2))
    assert sql.claim(9, 0) == []
    limits.put(Limit("workflow", "alpha", max_running=6))
    assert len(sql.claim(9, 0)) == 2
    assert limits.remove("workflow", "alpha")
    assert not limits.remove("workflow", "alpha")

    assert len(sql.claim(9, 0)) == 6


def test_what_a_claim_sets_apart_while_the_limit_is_taken_away_is_not_forgotten(sql: Sql, limits: LimitStore) -> None:
    limits.put(Limit("workflow", "alpha", max_running=1))
    put(sql, "a1", 5)
    with sql.connection.transaction():
        assert names(sql.claim(9, 0)) == ["a1.t0"]
        removal = begin(sql.url, lambda _: limits.remove("workflow", "alpha"))
        assert eventually(lambda: waits(sql.url) or not removal.is_alive())
        assert removal.is_alive()
    assert removal.answer()

    assert len(sql.claim(9, 0)) == 4


def test_who_waits_hears_of_a_change(sql: Sql, limits: LimitStore) -> None:
    sql.connection.listen("highway_work")
    limits.put(Limit("workflow", "alpha", max_running=1))
    assert eventually(lambda: sql.connection.notifications() == [("highway_work", "")])
    limits.remove("workflow", "alpha")
    assert eventually(lambda: sql.connection.notifications() == [("highway_work", "")])


def test_a_limited_name_is_that_of_a_queue_or_of_a_workflow() -> None:
    limited = Limited.of([("queue", "mail"), ("workflow", "alpha")])
    assert ("mail", "beta") in limited
    assert ("default", "alpha") in limited
    assert ("alpha", "mail") not in limited
    assert ("default", "beta") not in Limited()


# -- what it costs


def test_a_claim_reads_past_nothing_that_may_not_begin(durable15_url: str) -> None:
    sql = Sql(durable15_url)
    pool = ConnectionPool(durable15_url)
    fill(sql, 20_000)
    sql.run("UPDATE workflows SET workflow_name = 'blocked' WHERE workflow_id LIKE '%7'")
    sql.run("UPDATE task_queue SET priority = 9 WHERE workflow_id LIKE '%7'")
    sql.run("ANALYZE")
    for name in ("blocked", "unused"):
        LimitStore(pool).put(Limit("workflow", name, max_running=1))
    pool.close()
    while again(sql) is not None:
        pass
    running = sql.value("SELECT count(*) FROM task_queue WHERE status = 'running'")

    watch(sql)
    for _ in range(7):  # from the sixth time on a plan may be another one
        assert len(sql.claim(10, 0)) == 10
    nodes = seen(sql)
    sql.close()

    counting = [one for one in nodes if one.index == "idx_queue_lease"]
    assert len(counting) == 7
    assert max(one.rows for one in counting) <= running + 7 * 10
    others = [one for one in nodes if one not in counting and "p_name" not in one.statement]
    assert {one.index for one in others if one.table == "task_queue"} == {
        "idx_queue_poll",
        "idx_queue_lane",
        "pk_task_queue",
    }
    assert max(one.rows + one.removed for one in others) <= 20
    assert {one.index for one in nodes if one.table == "workflows"} == {"pk_workflows"}
