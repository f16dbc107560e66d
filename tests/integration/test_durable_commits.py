"""The transitions of DURABLE mode, by SQL: commits and what they refuse, starts, events, what images are made of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from highway_core.errors import StorageError
from highway_core.lifecycle import ApprovalStatus, QueueKind, RunStatus, TaskStatus
from tests.durable_sql import (
    NOW,
    Sql,
    at_once,
    begin,
    held,
    log_row,
    queue_row,
    run_row,
    step,
    task_row,
    waits,
    while_in_transaction,
)
from tests.waiting import eventually

DONE = TaskStatus.COMPLETED
WAITING = TaskStatus.WAITING_FOR_EVENT.value


@pytest.fixture
def sql(each_durable_url: str) -> Iterator[Sql]:
    one = Sql(each_durable_url)
    one.start("r", "s")
    yield one
    one.close()


def versions(sql: Sql) -> dict[str, int]:
    return dict(sql.rows("workflows", "workflow_id", "version"))


# -- commits


def test_a_commit_writes_the_whole_transition(sql: Sql) -> None:
    sql.submit(run_row("new"))
    (started,) = sql.claim()

    refused = sql.commit(
        step("new", 0, 3, s=RunStatus.RUNNING.value),
        consume=[held(started)],
        new=[task_row("new", "a", DONE, a=1, f=1, ca=NOW, es=2, rs='"x"'), task_row("new", "b", TaskStatus.QUEUED)],
        queue=[queue_row("new", "b", p=3), queue_row("new", "c", QueueKind.WAKE, st="WAITING_FOR_TIMER", du=NOW + 60)],
        log=[log_row("new", 2, "task.completed", "a"), log_row("new", 3, "task.QUEUED", "b")],
    )

    assert refused == []
    run = "SELECT version, status, log_seq, end_time FROM workflows WHERE workflow_id = 'new'"
    assert sql.fetch(run) == [(1, "running", 3, None)]
    assert sql.rows("tasks", "task_id", "status", "attempt", "version", "result_value_json", "ended_seq") == [
        ("a", "completed", 1, 1, '"x"', 2),
        ("b", "QUEUED", 0, 1, None, None),
    ]
    assert sql.rows("task_queue", "task_id", "kind", "status", "priority", "extract(epoch FROM due_at)::float") == [
        ("b", "work", "QUEUED", 3, None),
        ("c", "wake", "WAITING_FOR_TIMER", 0, NOW + 60),
    ]
    log = "SELECT seq, kind, task_id FROM event_log WHERE workflow_id = 'new' ORDER BY seq"
    assert sql.fetch(log) == [(1, "run.PENDING", ""), (2, "task.completed", "a"), (3, "task.QUEUED", "b")]


def test_a_commit_for_another_version_is_refused_alone(sql: Sql) -> None:
    assert sql.commit(step("r", 0, 2), log=[log_row("r", 2, "run.running")]) == []
    before = [sql.rows(table, "*") for table in ("tasks", "task_queue")]

    refused = sql.commit(
        step("r", 0, 3),
        step("s", 0, 2),
        step("unknown", 0, 2),
        new=[task_row("r", "a", TaskStatus.QUEUED), task_row("s", "a", TaskStatus.QUEUED)],
        queue=[queue_row("r", "a"), queue_row("s", "a")],
        log=[log_row("r", 3, "task.QUEUED", "a"), log_row("s", 2, "task.QUEUED", "a")],
        rare={"memory": [{"r": "r", "k": "x", "v": "1", "n": 1}], "events": [{"r": "r", "name": "e", "payload": "1"}]},
    )

    assert sorted(refused) == ["r", "unknown"]
    assert before == [[], []]
    assert versions(sql) == {"r": 1, "s": 1}
    assert sql.rows("tasks", "workflow_id") == sql.rows("task_queue", "workflow_id") == [("s",)]
    assert sql.rows("event_log", "workflow_id", "seq") == [("r", 1), ("r", 2), ("s", 1), ("s", 2)]
    assert sql.rows("workflow_memory", "*") == sql.rows("events", "*") == []


@pytest.mark.parametrize("lost", ["claimed again", "taken back", "gone"])
def test_a_commit_by_a_claim_that_was_lost_is_refused_alone(sql: Sql, lost: str) -> None:
    sql.put("r", "a")
    sql.put("s", "a")
    late = sql.claim(lease=-1)
    held_on = next(one for one in late if one["r"] == "s")
    sql.run("UPDATE task_queue SET lease_until = clock_timestamp() + interval '1 hour' WHERE workflow_id = 's'")
    if lost == "gone":
        sql.run("DELETE FROM task_queue WHERE workflow_id = 'r'")
    else:
        assert sql.value("SELECT highway_rescue(10)") == 1
    if lost == "claimed again":
        (again,) = sql.claim()

    refused = sql.commit(
        step("r", 0, 2),
        step("s", 0, 2),
        consume=[held(one) for one in late],
        new=[task_row(run, "a", DONE, a=1, f=1, ca=NOW, es=2) for run in ("r", "s")],
        log=[log_row(run, 2, "task.completed", "a") for run in ("r", "s")],
    )

    assert refused == ["r"]
    assert versions(sql) == {"r": 0, "s": 1}
    assert sql.rows("tasks", "workflow_id") == [("s",)]
    assert held_on["f"] == 1
    if lost == "claimed again":
        answer = sql.commit(step("r", 0, 2), consume=[held(again)], log=[log_row("r", 2, "task.completed", "a")])
        assert answer == []
        assert sql.rows("task_queue", "*") == []


def test_of_two_commits_of_one_version_at_once_exactly_one_is_taken(sql: Sql) -> None:
    for version in range(30):
        answers = at_once(
            sql.url,
            [
                lambda one, v=version: one.commit(step("r", v, v + 2), log=[log_row("r", v + 2, "task.running")])
                for _ in range(3)
            ],
        )
        assert sorted(answers) == [[], ["r"], ["r"]]

    assert versions(sql)["r"] == 30
    assert sql.value("SELECT count(*) FROM event_log WHERE workflow_id = 'r'") == 31


def test_a_commit_locks_its_runs_in_the_order_of_their_ids(sql: Sql) -> None:
    lock = "SELECT 1 FROM workflows WHERE workflow_id = %s FOR NO KEY UPDATE"
    with sql.connection.transaction():
        sql.value(lock, ["r"])
        other = begin(sql.url, lambda one: one.commit(step("s", 0, 1), step("r", 0, 1)))
        assert eventually(lambda: waits(sql.url))

        assert sql.value(lock + " NOWAIT", ["s"]) == 1
    assert other.answer() == []

    assert versions(sql) == {"r": 1, "s": 1}


def test_a_row_that_cannot_be_stored_leaves_nothing_of_its_batch(sql: Sql) -> None:
    sql.put("r", "a")
    (claimed,) = sql.claim()

    with pytest.raises(StorageError, match="ck_tasks_status"):
        sql.commit(
            step("r", 0, 2),
            step("s", 0, 2),
            consume=[held(claimed)],
            new=[task_row("s", "a", DONE), task_row("r", "a", DONE) | {"st": "done"}],
        )

    assert versions(sql) == {"r": 0, "s": 0}
    assert sql.rows("tasks", "*") == []
    assert sql.rows("task_queue", "task_id", "status") == [("a", "running")]


def test_a_run_that_ended_has_no_queue_rows_and_no_open_approvals(sql: Sql) -> None:
    for task, status in (("a", "QUEUED"), ("b", "WAITING_FOR_TIMER"), ("c", "PAUSED"), ("d", "running")):
        sql.put("r", task, status=status)
    sql.put("s", "a")
    asked = {"id": "ap", "r": "r", "t": "a", "f": 1, "prompt": "?", "assignee": "m", "choices": "[]", "hash": "h"}
    sql.commit(step("r", 0, 1), rare={"approvals": [asked]})

    refused = sql.commit(
        step("r", 1, 2, s=RunStatus.FAILED.value, e="a: it broke", o=None, f=True),
        queue=[queue_row("r", "z")],
        log=[log_row("r", 2, "run.failed")],
        rare={"ended": [{"r": "r"}]},
    )

    assert refused == []
    assert sql.rows("task_queue", "workflow_id") == [("s",)]
    ended = "SELECT status, error_message, end_time IS NOT NULL FROM workflows WHERE workflow_id = 'r'"
    assert sql.fetch(ended) == [("failed", "a: it broke", True)]
    assert sql.rows("approvals", "status") == [(ApprovalStatus.CANCELLED.value,)]


def test_a_chain_goes_on_in_the_same_worker_without_a_claim(sql: Sql) -> None:
    sql.commit(
        step("r", 0, 1), queue=[queue_row("r", "b", st="running", a=1, f=1)], worker="w7", lease=60.0
    )  # fmt: skip

    assert sql.claim() == []
    lease = "SELECT worker_id, extract(epoch FROM lease_until - clock_timestamp()) > 55 FROM task_queue"
    assert sql.fetch(lease) == [("w7", True)]


def test_a_task_that_is_given_up_has_no_queue_rows(sql: Sql) -> None:
    for kind in (QueueKind.WORK, QueueKind.TIMEOUT, QueueKind.APPROVAL):
        sql.put("r", "a", kind)
    sql.put("r", "b")

    assert sql.commit(step("r", 0, 1), drop=[{"r": "r", "t": "a"}]) == []

    assert sql.rows("task_queue", "task_id") == [("b",)]


def test_messages_reach_runs_that_live_once(sql: Sql) -> None:
    sql.start("over")
    sql.commit(step("over", 0, 1, s=RunStatus.COMPLETED.value, f=True))
    letters = [{"by": "r", "r": run, "t": "call", "k": "child:x", "pl": "{}"} for run in ("s", "over", "unknown")]

    assert sql.commit(step("r", 0, 1), rare={"messages": letters}) == []
    assert sql.commit(step("r", 1, 1), rare={"messages": letters}) == []

    assert sql.rows("task_queue", "workflow_id", "task_id", "kind", "status") == [("s", "call", "child:x", "QUEUED")]


# -- starts


def test_the_same_start_twice_is_the_same_run(sql: Sql) -> None:
    first = sql.submit(run_row("one", key="k"), run_row("two"))
    again = sql.submit(run_row("three", key="k"))

    assert {one["asked"]: (one["id"], one["created"], one["same"]) for one in [*first, *again]} == {
        "one": ("one", True, True),
        "two": ("two", True, True),
        "three": ("one", False, True),
    }
    assert set(versions(sql)) == {"r", "s", "one", "two"}
    assert sql.rows("task_queue", "workflow_id", "kind") == [("one", "start"), ("two", "start")]
    assert sql.value("SELECT count(*) FROM workflow_definitions") == 1


def test_a_key_that_comes_again_with_something_else_starts_nothing(sql: Sql) -> None:
    sql.submit(run_row("one", key="k"))

    (answer,) = sql.submit(run_row("two", key="k", ph="another payload"))

    assert (answer["id"], answer["created"], answer["same"]) == ("one", False, False)
    assert "two" not in versions(sql)


def test_a_key_holds_after_its_run_was_deleted(sql: Sql) -> None:
    sql.submit(run_row("one", key="k"))
    sql.run("DELETE FROM workflows WHERE workflow_id = 'one'")

    (answer,) = sql.submit(run_row("one", key="k"))

    assert (answer["id"], answer["created"], answer["same"], answer["status"]) == ("one", False, True, None)


def test_an_id_that_is_taken_starts_nothing_and_spends_no_key(sql: Sql) -> None:
    (same,) = sql.submit(run_row("r", key="k"))
    (different,) = sql.submit(run_row("r", key="k2", ph="another payload"))
    (later,) = sql.submit(run_row("new", key="k2", ph="another payload"))

    assert (same["id"], same["created"], same["same"]) == ("r", False, True)
    assert (different["id"], different["created"], different["same"]) == ("r", False, False)
    assert (later["id"], later["created"]) == ("new", True)


def test_twenty_callers_with_ten_keys_start_ten_runs(sql: Sql) -> None:
    def call(one: Sql, caller: int) -> list[dict[str, Any]]:
        rows = [run_row(f"run-{caller}-{key}", key=f"key-{key}") for key in range(10)]
        return one.submit(*(rows if caller % 2 else rows[::-1]))

    answers = at_once(sql.url, [lambda one, caller=caller: call(one, caller) for caller in range(20)])

    told = [one for answer in answers for one in answer]
    assert len(told) == 200
    assert all(one["same"] for one in told)
    assert sum(one["created"] for one in told) == 10
    assert {one["id"] for one in told} == set(versions(sql)) - {"r", "s"}
    assert len({one["id"] for one in told}) == 10


def test_a_slot_of_a_schedule_has_one_run_however_many_ask(sql: Sql) -> None:
    calls = [lambda one, name=f"run{n}": one.submit(run_row(name, sid="daily", slot=NOW)) for n in range(8)]

    answers = [answer for (answer,) in at_once(sql.url, calls)]

    assert sum(answer["created"] for answer in answers) == 1
    assert {answer["id"] for answer in answers} == set(versions(sql)) - {"r", "s"}


# -- events


def wait_for(sql: Sql, name: str, version: int = 0, **values: Any) -> None:
    row = queue_row("r", "wait", QueueKind.EVENT, st=WAITING, ev=name, **values)
    assert sql.commit(step("r", version, 1), queue=[row], rare={"names": [{"name": name}]}) == []


def test_an_event_that_came_before_its_waiter_is_delivered(sql: Sql) -> None:
    assert sql.value("SELECT highway_emit('paid', '1', 'api')") == 0
    assert sql.value("SELECT highway_emit('paid', '2', 'api')") == 0

    wait_for(sql, "paid", du=NOW)

    (message,) = sql.claim()
    assert (message["k"], message["ev"], message["evp"]) == ("event", "paid", "2")


def test_an_event_that_comes_later_wakes_who_waits_for_it_and_nobody_else(sql: Sql) -> None:
    wait_for(sql, "paid")
    sql.put("s", "wait", QueueKind.EVENT, status=WAITING, event_name="shipped")
    sql.put("s", "also", QueueKind.EVENT, status=WAITING, event_name="paid", due_at_in=60)
    assert sql.claim() == []

    emitted = {"r": "s", "t": "emit", "name": "paid", "payload": "3"}
    assert sql.commit(step("s", 0, 1), rare={"names": [{"name": "paid"}], "events": [emitted]}) == []

    assert {(one["r"], one["t"], one["evp"]) for one in sql.claim()} == {("r", "wait", "3"), ("s", "also", "3")}
    assert sql.rows("events", "name", "workflow_id", "task_id") == [("paid", "s", "emit")]


def test_waiter_and_event_at_the_same_moment_do_not_miss_each_other(sql: Sql) -> None:
    for number in range(40):
        name = f"event-{number}"
        at_once(
            sql.url,
            [
                lambda one, name=name, version=number: wait_for(one, name, version),
                lambda one, name=name: one.value("SELECT highway_emit(%s, '1', 'api')", [name]),
            ],
        )
        (message,) = sql.claim()
        assert message["ev"] == name


def test_an_event_waits_for_a_waiter_that_is_being_committed(sql: Sql) -> None:
    emit = "SELECT highway_emit('paid', '1', 'api')"

    assert while_in_transaction(sql, lambda one: wait_for(one, "paid"), lambda one: one.value(emit)) == 1

    assert len(sql.claim()) == 1


def test_a_waiter_waits_for_an_event_that_is_being_stored(sql: Sql) -> None:
    emit = "SELECT highway_emit('paid', '1', 'api')"

    while_in_transaction(sql, lambda one: one.value(emit), lambda one: wait_for(one, "paid"))

    assert len(sql.claim()) == 1


# -- what an image is made of


def test_a_run_is_loaded_whole_or_what_changed_since(sql: Sql) -> None:
    sql.commit(
        step("r", 0, 2, s=RunStatus.RUNNING.value),
        new=[task_row("r", "a", DONE, rs='"x"'), task_row("r", "long", DONE, rs='"' + "x" * 2000 + '"')],
        rare={
            "memory": [{"r": "r", "k": "count", "v": "1", "n": 1}],
            "children": [run_row("c", by="r", pr="r", pt="a")],
        },
    )
    sql.commit(
        step("r", 1, 3), new=[task_row("r", "b", TaskStatus.QUEUED)], rare={"variables": [{"r": "r", "v": "[]"}]}
    )

    whole, changed, same = sql.load(("r", -1)), sql.load(("r", 1)), sql.load(("r", 2), ("unknown", -1), lock=True)

    assert (whole["runs"][0]["v"], whole["runs"][0]["s"], whole["runs"][0]["vars"]) == (2, "running", "[]")
    assert {one["t"]: one["rs"] for one in whole["tasks"]} == {"a": '"x"', "long": None, "b": None}
    assert whole["memory"] == [{"r": "r", "k": "count", "v": "1"}]
    assert [(one["c"], one["t"], one["open"]) for one in whole["children"]] == [("c", "a", True)]
    assert [one["t"] for one in changed["tasks"]] == ["b"]
    assert (changed["memory"], changed["runs"][0]["vars"]) == (None, "[]")
    assert [one["r"] for one in same["runs"]] == ["r"]
    assert (same["tasks"], same["memory"], same["runs"][0]["vars"]) == (None, None, None)


def test_former_iterations_are_no_part_of_a_run_any_more(sql: Sql) -> None:
    rows = [task_row("r", f"loop[{n}].a", DONE, sc=f"loop[{n}].") for n in range(2)]
    sql.commit(step("r", 0, 1), new=[*rows, task_row("r", "loop", TaskStatus.WAITING_FOR_CHILDREN)])
    sql.put("r", "loop[1].a", QueueKind.TIMEOUT)

    assert sql.commit(step("r", 1, 1), rare={"detach": [{"r": "r", "prefix": "loop[1]."}]}) == []

    assert {one["t"] for one in sql.load(("r", -1))["tasks"]} == {"loop", "loop[0].a"}
    assert [(one["t"], one["nd"]) for one in sql.load(("r", 1))["tasks"]] == [("loop[1].a", None)]
    assert sql.rows("task_queue", "*") == []
