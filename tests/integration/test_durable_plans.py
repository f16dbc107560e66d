"""What the statements of DURABLE mode cost among 100,000 tasks: they find their rows by index and read few others.

On PostgreSQL 15 by EXPLAIN of every statement inside the functions as it is carried out (``auto_explain``; the embedded
PostgreSQL has no such module), on each version by what the server counted of reads.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from highway_core.lifecycle import ApprovalStatus, QueueKind, RunStatus, TaskStatus
from highway_core.persistence.statements import transitions, upkeep
from tests.durable_plans import LARGE, Node, fill, seen, watch
from tests.durable_sql import NOW, Sql, held, log_row, queue_row, run_row, step, task_row

MANY = 100_000
WAITING = [TaskStatus.WAITING_FOR_TIMER.value, TaskStatus.WAITING_FOR_EVENT.value]
BATCH = 5
"""Runs in one commit; each has ten tasks and ten queue rows."""
FEW = 150
"""The most that one step of a statement may read: a batch, and the rows of its runs."""


@pytest.fixture
def sql15(durable15_url: str) -> Iterator[Sql]:
    one = Sql(durable15_url)
    yield one
    one.close()


@pytest.fixture
def sql(each_durable_url: str) -> Iterator[Sql]:
    one = Sql(each_durable_url)
    yield one
    one.close()


def everything(sql: Sql, number: int) -> None:
    """Every function once, with all that a commit can hold; ``number`` tells the times apart."""
    sql.claim(10, 10)
    sql.value("SELECT highway_wake(10)")
    sql.value("SELECT highway_rescue(10)")
    sql.value("SELECT highway_emit(%s, '1', 'api')", [f"event-{number * 10 + 3}"])
    runs = [f"own-{number}-{one}" for one in range(BATCH)]
    sql.submit(*(run_row(run, key=f"key-{run}") for run in runs))
    sql.submit(run_row(runs[0], key=f"other-{number}", sid="daily", slot=NOW + number))
    for run in runs:
        sql.put(run, "a", QueueKind.WORK, queue="own")
    claimed = sql.claim(BATCH, 0, queues=["own"])
    assert len(claimed) == BATCH
    a_commit(sql, number, runs, claimed)
    sql.load(*((run, -1) for run in runs), lock=True)
    sql.load(*((run, 1) for run in runs))


def a_commit(sql: Sql, number: int, runs: list[str], claimed: list[dict[str, Any]]) -> None:
    asked = {"id": f"ap-{runs[0]}", "r": runs[0], "t": "a", "f": 1, "prompt": "", "assignee": "", "choices": "[]"}
    rare = {
        "memory": [{"r": run, "k": "count", "v": "1", "n": 1} for run in runs],
        "variables": [{"r": run, "v": "{}"} for run in runs],
        "left": [{"r": runs[0], "t": "a", "k": f"left-{number}", "v": "1"}],
        "approvals": [asked | {"hash": f"hash-{runs[0]}"}],
        "approvals_over": [{"r": runs[0], "t": "a", "st": ApprovalStatus.EXPIRED.value}],
        "children": [run_row(f"child-{number}", by=runs[0], pr=runs[0], pt="a")],
        "messages": [{"by": runs[0], "r": runs[1], "t": "call", "k": "child:x", "pl": "{}"}],
        "names": [{"name": f"own-{number}"}],
        "events": [{"r": runs[0], "t": "a", "name": f"own-{number}", "payload": "1"}],
        "detach": [{"r": runs[0], "prefix": "loop[0]."}],
        "ended": [{"r": runs[-1]}],
    }
    refused = sql.commit(
        *(step(run, 0, 2) for run in runs[:-1]),
        step(runs[-1], 0, 2, s=RunStatus.COMPLETED.value, f=True),
        consume=[held(one) for one in claimed],
        drop=[{"r": run, "t": "b"} for run in runs],
        new=[task_row(run, "a", TaskStatus.COMPLETED, rs="1") for run in runs],
        tasks=[{"r": run, "t": "a", "st": TaskStatus.COMPLETED.value, "a": 1, "f": 1} for run in runs],
        queue=[queue_row(run, "c", QueueKind.EVENT, st=WAITING[1], ev=f"own-{number}") for run in runs],
        log=[log_row(run, 2, "task.completed", "a") for run in runs],
        rare=rare,
    )
    assert refused == []


def wasteful(nodes: list[Node]) -> list[str]:
    return [str(one) for one in nodes if one.kind == "Seq Scan" or one.rows + one.removed > FEW]


# -- PostgreSQL 15, by EXPLAIN


def test_no_statement_of_a_function_reads_more_than_it_needs(sql15: Sql) -> None:
    fill(sql15, MANY)
    sql15.run("ANALYZE")
    watch(sql15)
    for number in range(7):  # From the sixth time on a plan may be another one.
        everything(sql15, number)

    nodes = seen(sql15)

    assert len(nodes) > 7 * 40
    assert {node.table for node in nodes} >= LARGE - {"event_log"}  # which is only written
    assert wasteful(nodes) == []


def test_plans_made_in_an_empty_database_are_as_good_when_it_has_grown(sql15: Sql, durable15_url: str) -> None:
    watch(sql15)
    for number in range(7):
        everything(sql15, number)
    sql15.run("ALTER TABLE task_queue SET (autovacuum_enabled = off)")
    other = Sql(durable15_url)
    fill(other, MANY // 5)
    other.close()
    seen(sql15)

    for number in range(7, 9):
        everything(sql15, number)

    assert wasteful(seen(sql15)) == []


@pytest.mark.parametrize(
    ("call", "index"),
    [
        ("SELECT highway_claim('w', 30, ARRAY['default', 'mail'], 10, 0)", "idx_queue_poll"),
        ("SELECT highway_claim('w', 30, ARRAY['default', 'mail'], 0, 10)", "idx_queue_messages"),
        ("SELECT highway_wake(10)", "idx_queue_due"),
        ("SELECT highway_rescue(10)", "idx_queue_lease"),
        ("SELECT highway_emit('event-13', '1', 'api')", "idx_queue_event"),
    ],
)
def test_what_is_looked_for_in_the_queue_is_found_by_its_own_index(sql15: Sql, call: str, index: str) -> None:
    fill(sql15, MANY)
    sql15.run("ANALYZE")
    watch(sql15)
    for _ in range(7):
        sql15.value(call)

    found = [node for node in seen(sql15) if node.table == "task_queue" and node.index != "pk_task_queue"]

    assert len(found) >= 7
    assert {node.index for node in found} == {index}
    assert max(node.rows + node.removed for node in found) <= 10


# -- each version, by what the server counted


def reads(sql: Sql) -> dict[str, int]:
    """Rows and index entries read so far of each large table."""
    other = Sql(sql.url)
    try:
        sql.value("SELECT pg_stat_force_next_flush()")
        sql.value("SELECT 1")
        return dict(
            other.fetch(
                "SELECT relname::text, (seq_tup_read + coalesce(idx_tup_fetch, 0) + coalesce((SELECT sum(idx_tup_read)"
                " FROM pg_stat_user_indexes AS i WHERE i.relid = t.relid), 0))::integer"
                " FROM pg_stat_user_tables AS t WHERE relname = ANY (%s)",
                [sorted(LARGE)],
            )
        )
    finally:
        other.close()


def test_the_functions_read_as_little_among_many_rows_as_among_few(sql: Sql) -> None:
    def cost(first: int) -> dict[str, int]:
        before = reads(sql)
        for number in range(first, first + 7):
            everything(sql, number)
        after = reads(sql)
        return {table: after[table] - before[table] for table in LARGE}

    fill(sql, 1000)
    small = cost(0)
    sql.run("TRUNCATE workflows, event_log, events, idempotency_keys CASCADE")
    fill(sql, MANY)
    sql.run("ANALYZE")
    large = cost(7)

    assert sum(large.values()) > 0
    for table in LARGE:
        assert large[table] <= small[table] * 2 + 100, (table, small, large)


def test_nothing_is_read_of_the_queue_when_nothing_is_due(sql: Sql) -> None:
    fill(sql, MANY)
    sql.run("UPDATE task_queue SET due_at = now() + interval '1 day' WHERE due_at IS NOT NULL")
    sql.run("UPDATE task_queue SET lease_until = now() + interval '1 day' WHERE lease_until IS NOT NULL")
    sql.run("UPDATE task_queue SET due_at = now() - interval '1 day' WHERE status = 'PAUSED'")
    sql.run("UPDATE task_queue SET status = 'PAUSED' WHERE status = 'QUEUED'")
    sql.run("VACUUM ANALYZE")
    before = reads(sql)

    for _ in range(10):
        assert sql.claim(10, 10, queues=["default", "mail"]) == []
        assert sql.value("SELECT highway_wake(100)") == sql.value("SELECT highway_rescue(100)") == 0
        sql.fetch(upkeep.LOOK, [WAITING, TaskStatus.RUNNING.value])

    assert reads(sql)["task_queue"] - before["task_queue"] <= 10 * 4


def test_a_heartbeat_reads_no_more_than_what_is_worked_on(sql: Sql) -> None:
    fill(sql, MANY)
    sql.run("ANALYZE")
    claims = [held(one) for one in sql.claim(10, 10)]
    running = sql.value("SELECT count(*) FROM task_queue WHERE status = %s", [TaskStatus.RUNNING.value])
    before = reads(sql)

    renewed = sql.fetch(transitions.RENEW, [json.dumps(claims), 30.0])

    assert len(renewed) == 20
    assert reads(sql)["task_queue"] - before["task_queue"] <= 2 * running + 20 * 4
