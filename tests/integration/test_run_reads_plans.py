"""What is read of runs costs the same in a large database: every statement finds its rows by an index."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from highway_core.lifecycle import RunMode, RunStatus, TaskStatus
from highway_core.persistence.durable_connection import DurableConnection
from highway_core.persistence.schema import require_schema
from highway_core.persistence.statements import keys
from highway_core.persistence.statements import reads as sql
from tests.api_client import database

RUNS = 5_000
MOMENT = "2026-01-01T00:00:00Z"
RUN = "run-77"
DURABLE = RunMode.DURABLE.value
RUNNING = RunStatus.RUNNING.value


@pytest.fixture(scope="module")
def large(postgres_server: str) -> Iterator[DurableConnection]:
    with database(postgres_server) as url:
        require_schema(url)
        connection = DurableConnection(url)
        done, runs = TaskStatus.COMPLETED.value, RunStatus.COMPLETED.value
        connection.run(
            "INSERT INTO workflows (workflow_id, workflow_name, mode, status, start_time, updated_at, owner)"
            " SELECT 'run-' || n, 'w' || n %% 500, %s, CASE WHEN n %% 1000 = 0 THEN %s ELSE %s END,"
            " timestamptz '2026-01-01' + n * interval '1 second', now(), '' FROM generate_series(1, %s) AS n",
            (DURABLE, RUNNING, runs, RUNS),
        )
        connection.run(
            "INSERT INTO tasks (workflow_id, task_id, scope, operator_type, dependencies_json, ordinal, created_at,"
            " updated_at, status, attempt, completed_at)"
            " SELECT 'run-' || r, 't' || n, '', 'task', '[]', n, now(), now(), %s, 1, now()"
            " FROM generate_series(1, %s) AS r, generate_series(1, 8) AS n",
            (done, RUNS),
        )
        connection.run(
            "INSERT INTO event_log (workflow_id, seq, at, kind)"
            " SELECT 'run-' || r, n, now(), 'task' FROM generate_series(1, %s) AS r, generate_series(1, 10) AS n",
            (RUNS,),
        )
        connection.run(
            "INSERT INTO workflow_definitions (definition_hash, workflow_name, definition_json, created_at)"
            " SELECT 'h' || n, 'w' || n, '{}', now() FROM generate_series(1, 3000) AS n"
        )
        connection.run(
            "INSERT INTO api_keys (key_id, secret_hash, name, scopes_json)"
            " SELECT 'k' || n, 'h', 'n', '[]' FROM generate_series(1, 3000) AS n"
        )
        connection.run("ANALYZE")
        yield connection
        connection.close()


def scans(plan: dict[str, Any]) -> Iterator[str]:
    if plan["Node Type"] == "Seq Scan":
        yield plan["Relation Name"]
    for child in plan.get("Plans", ()):
        yield from scans(child)


def reads(plan: dict[str, Any]) -> int:
    """Rows that were touched."""
    own = plan.get("Actual Rows", 0) + plan.get("Rows Removed by Filter", 0) if "Scan" in plan["Node Type"] else 0
    return int(own * plan.get("Actual Loops", 1)) + sum(reads(child) for child in plan.get("Plans", ()))


@pytest.mark.parametrize(
    ("statement", "values", "most"),
    [
        (sql.SELECT_RUN, (RUN,), 1),
        (sql.SELECT_VALUES, (RUN,), 1),
        (sql.SELECT_DEFINITION, ("h7",), 1),
        (sql.SELECT_TASKS, (RUN, 1_000, 0), 20),
        (sql.SELECT_TASK, (RUN, "t1"), 1),
        (sql.SELECT_TASK_RESULT, (RUN, "t1"), 1),
        (sql.COUNT_TASKS, (RUN,), 20),
        (sql.SELECT_OUTER_TASK_IDS, (RUN,), 20),
        (sql.SELECT_OPEN_TASKS, (RUN, 100), 20),
        (sql.SELECT_STATUSES, ([RUN, "run-8"],), 4),
        (sql.SELECT_HISTORY, (RUN, 3, 5), 20),
        (sql.select_runs(), (DURABLE, 50), 60),
        (sql.select_runs(after=True), (DURABLE, MOMENT, MOMENT, RUN, 50), 60),
        (sql.select_runs({"since"}), (DURABLE, MOMENT, 50), 60),
        (sql.select_runs({"status"}), (DURABLE, RUNNING, 50), 60),
        (sql.select_runs({"name"}), (DURABLE, "w7", 50), 60),
        (sql.select_runs({"parent"}), (DURABLE, RUN, 50), 60),
        (keys.SELECT_KEY, ("k7",), 1),
    ],
)
def test_a_read_touches_no_more_rows_than_it_answers_with(
    large: DurableConnection, statement: str, values: tuple[Any, ...], most: int
) -> None:
    (plan,) = large.value(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", values)
    assert list(scans(plan["Plan"])) == [], plan
    assert reads(plan["Plan"]) <= most, plan


def test_a_deep_page_of_a_list_costs_what_the_first_one_does(large: DurableConnection) -> None:
    statement = sql.select_runs(after=True)
    middle = large.value("SELECT start_time FROM workflows WHERE workflow_id = 'run-2500'")
    (plan,) = large.value(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", (DURABLE, middle, middle, "run-2500", 50))
    assert list(scans(plan["Plan"])) == []
    assert reads(plan["Plan"]) <= 60, plan
