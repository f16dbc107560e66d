"""What a parked run waits for is in the queue. Whatever of it somebody deletes there, the sweep puts back as it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from highway_core.persistence.approval_store import ApprovalStore
from highway_core.persistence.durable_connection import ConnectionPool, DurableConnection
from highway_core.persistence.upkeep import REPAIRED, Upkeep
from tests.durable_rows import Rows
from tests.durable_workers import Workers, workers
from tests.waiting import eventually

NAP = {"operator_type": "wait", "wait_for": "PT1H"}
LIMIT = {"timeout_policy": {"timeout": "PT3H"}}
PARKED = {
    "nap": NAP,
    "limited_nap": {**NAP, **LIMIT},
    "again": {
        "operator_type": "task",
        "function": "tools.filesystem.read",
        "args": ["missing/{{variables.name}}"],
        "retry_policy": {"max_retries": 3, "delay": "PT1H"},
    },
    "event": {"operator_type": "wait_for_event", "event_name": "go-{{variables.name}}"},
    "timed_event": {"operator_type": "wait_for_event", "event_name": "come", "timeout_seconds": 3600, **LIMIT},
    "missed_event": {
        "operator_type": "wait_for_event",
        "event_name": "never",
        "timeout_seconds": 0.01,
        "retry_policy": {"max_retries": 1, "delay": "PT1H"},
        **LIMIT,
    },
    "ask": {"operator_type": "task", "function": "human.request_approval", "args": ["May we?", "ann@example.com"]},
    "timed_ask": {
        "operator_type": "task",
        "function": "human.request_approval",
        "args": ["May we?", "ann@example.com"],
        **LIMIT,
    },
    "child": {
        "operator_type": "task",
        "function": "tools.workflow.execute",
        "kwargs": {"workflow_name": "inner"},
        **LIMIT,
    },
    "both": {
        "operator_type": "parallel",
        "timeout": 7200,
        **LIMIT,
        "branches": {"a": ["in_a"], "b": ["in_b"]},
    },
    "in_a": {**NAP, "dependencies": ["both"]},
    "in_b": {"operator_type": "wait_for_event", "event_name": "b", "dependencies": ["both"]},
    "each": {
        "operator_type": "foreach",
        "items": [1],
        "loop_body": [{"task_id": "rest", **NAP}],
        **LIMIT,
    },
}
ROWS = """
SELECT task_id, kind, status, round(extract(epoch FROM due_at)::numeric, 3), event_name, queue, payload_json
  FROM task_queue WHERE workflow_id = %s ORDER BY 1, 2
"""
Age = Callable[[], None]


@pytest.fixture
def connection(durable_url: str) -> Iterator[DurableConnection]:
    connection = DurableConnection(durable_url)
    yield connection
    connection.close()


@pytest.fixture
def parked(durable_url: str, tmp_path: Path) -> str:
    """The id of a run of which every task waits for something else; its worker is gone."""
    with workers(durable_url, tmp_path, 1, poll_seconds=0.5) as opened:
        opened.submit({"inner": NAP}, name="inner")
        run_id = opened.submit(PARKED, variables={"name": "x"}, deadline_seconds=86_400)
        assert eventually(lambda: _is_parked(opened, run_id))
    return run_id


def _is_parked(opened: Workers, run_id: str) -> bool:
    found = dict(opened.rows("SELECT task_id, status FROM tasks WHERE workflow_id = %s", run_id))
    inner = opened.rows("SELECT 1 FROM tasks WHERE task_id = 'inner' AND status = 'WAITING_FOR_TIMER'")
    return (
        len(inner) == 2
        and found.keys() == {*PARKED, "each[0].rest"}
        and all(one.startswith("WAIT") for one in found.values())
        and found["missed_event"] == "WAITING_FOR_TIMER"
    )


def make_old(connection: DurableConnection) -> None:
    """As if everything had been written a minute ago."""
    connection.run("UPDATE workflows SET updated_at = updated_at - interval '1 minute'")
    connection.run("UPDATE tasks SET updated_at = updated_at - interval '1 minute'")


def test_every_row_that_a_run_waits_with_is_put_back_as_it_was(connection: DurableConnection, parked: str) -> None:
    make_old(connection)
    upkeep = Upkeep(connection)
    before = connection.fetch(ROWS, (parked,))
    kinds = {(path, kind) for path, kind, *_ in before}
    assert kinds == {
        ("", "deadline"),
        *((path, "wake") for path in ("nap", "limited_nap", "in_a", "each[0].rest")),
        *((path, "timeout") for path in ("limited_nap", "timed_event", "child", "both", "each")),
        *((path, "event") for path in ("event", "timed_event", "in_b")),
        *((path, "approval") for path in ("ask", "timed_ask")),
        *((path, "retry") for path in ("again", "missed_event")),
        ("both", "branch_timeout"),
    }
    assert upkeep.repair(10, 500) == 0, "nothing is missing"
    for path, kind in sorted(kinds):
        connection.run(
            "DELETE FROM task_queue WHERE workflow_id = %s AND task_id = %s AND kind = %s", (parked, path, kind)
        )
        assert upkeep.repair(10, 500) == 1, (path, kind)
        assert connection.fetch(ROWS, (parked,)) == before
    connection.run("DELETE FROM task_queue WHERE workflow_id = %s", (parked,))
    assert upkeep.repair(10, 500) == len(before)
    assert connection.fetch(ROWS, (parked,)) == before
    assert Rows(connection).counter(REPAIRED) == 2 * len(before)
    assert upkeep.repair(10, 500) == 0


def test_a_repaired_run_goes_on(durable_url: str, connection: DurableConnection, tmp_path: Path) -> None:
    tasks: dict[str, Any] = {
        "event": {"operator_type": "wait_for_event", "event_name": "come"},
        "ask": {**PARKED["ask"]},
        "nap": {"operator_type": "wait", "wait_for": "PT2S"},
        "again": {
            "operator_type": "task",
            "function": "tools.shell.run",
            "args": [f"test -e {tmp_path}/second || (touch {tmp_path}/second; false)"],
            "retry_policy": {"max_retries": 1, "delay": "PT2S"},
        },
        "child": {"operator_type": "task", "function": "tools.workflow.execute", "kwargs": {"workflow_name": "inner"}},
    }
    with workers(durable_url, tmp_path, 1, poll_seconds=0.5) as opened:
        inner = {"inner": {"operator_type": "wait_for_event", "event_name": "end"}}
        opened.submit(inner, name="inner")
        run_id = opened.submit(tasks)
        waits = "SELECT 1 FROM tasks WHERE status LIKE 'WAIT%%'"
        assert eventually(lambda: len(opened.rows(waits)) == len(tasks) + 2)
    (asked,) = ApprovalStore(ConnectionPool(durable_url)).open(run_id=run_id)
    ApprovalStore(ConnectionPool(durable_url)).decide(asked.approval_id, "APPROVED", by="ann", via="api")
    connection.run("SELECT highway_emit('come', '7', 'ann'), highway_emit('end', '8', 'ann')")
    connection.run("DELETE FROM task_queue")
    make_old(connection)
    assert Upkeep(connection).repair(10, 500) == len(tasks) - 1 + 2
    Upkeep(connection).deliver(500)
    with workers(durable_url, tmp_path, 1, poll_seconds=0.5) as opened:
        assert opened.ended(run_id) == ["completed"]
        ((result,),) = opened.rows("SELECT result_value_json FROM tasks WHERE task_id = 'event'")
        assert result == "7"


def test_a_run_that_was_let_go_on_before_it_began_has_no_deadline_yet(
    rows: Rows, connection: DurableConnection
) -> None:
    rows.run("begins")
    rows.queue("begins", "", "start", "QUEUED")
    rows.run("goes")
    rows.queue("goes", "t", "work", "QUEUED")
    connection.run("UPDATE workflows SET timeout_seconds = 60")
    assert Upkeep(connection).repair(10, 500) == 1
    assert rows.waiting() == [("goes", "", "deadline")]
    assert Upkeep(connection).repair(10, 500) == 0


def test_a_task_whose_child_runs_are_over_is_told_again(rows: Rows, connection: DurableConnection) -> None:
    for name, status in (("told", "completed"), ("waits", "running")):
        rows.run(name)
        rows.task(name, "call", "WAITING_FOR_CHILDREN")
        rows.run(f"{name}/call/a", "failed", parent=name)
        rows.run(f"{name}/call/b", status, parent=name)
    connection.run("UPDATE workflows SET parent_task_id = 'call' WHERE parent_workflow_id IS NOT NULL")
    rows.queue("waits/call/b")
    assert Upkeep(connection).repair(10, 500) == 1
    assert rows.queued() == [("told", "call", "child")]
    assert Upkeep(connection).repair(10, 500) == 0


@pytest.fixture
def rows(connection: DurableConnection) -> Rows:
    return Rows(connection)
