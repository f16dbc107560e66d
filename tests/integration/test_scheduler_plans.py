"""What the Scheduler asks all the time is answered from an index, however much else the tables hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from highway_core.lifecycle import RUN_FINAL, RunStatus, TaskStatus
from highway_core.persistence.durable_connection import DurableConnection
from highway_core.persistence.schema import require_schema
from highway_core.persistence.statements import reads, schedules, upkeep

_OPEN = [status.value for status in RunStatus if status not in RUN_FINAL]
_FINAL = [status.value for status in RUN_FINAL]
_FILL = """
INSERT INTO workflows (workflow_id, workflow_name, mode, status, start_time, updated_at, end_time, owner)
SELECT 'r' || n, 'test', 'DURABLE', CASE WHEN n <= 5000 THEN 'running' ELSE 'completed' END,
       at, at, CASE WHEN n > 5000 THEN at END, ''
  FROM (SELECT n, clock_timestamp() - n * interval '1 minute' AS at FROM generate_series(1, 20000) AS n) AS one;
INSERT INTO task_queue (workflow_id, task_id, kind, status, due_at, lease_until)
SELECT 'r' || n, 't', 'work', CASE n % 3 WHEN 0 THEN 'QUEUED' WHEN 1 THEN 'running' ELSE 'WAITING_FOR_TIMER' END,
       CASE n % 3 WHEN 2 THEN clock_timestamp() + n * interval '1 second' END,
       CASE n % 3 WHEN 1 THEN clock_timestamp() + n * interval '1 second' END
  FROM generate_series(1, 5000) AS n;
INSERT INTO tasks (workflow_id, task_id, operator_type, dependencies_json, ordinal, created_at, updated_at, status,
       attempt, node)
SELECT 'r' || n, 't', 'task', '[]', n, clock_timestamp(), clock_timestamp(), 'QUEUED', 0, 1
  FROM generate_series(1, 5000) AS n;
INSERT INTO workflow_definitions VALUES ('h', 'test', '{}', clock_timestamp());
INSERT INTO schedules (schedule_id, workflow_name, definition_hash, expression, next_slot, paused)
SELECT 's' || n, 'test', 'h', '@daily', clock_timestamp() + n * interval '1 minute', n % 2 = 0
  FROM generate_series(1, 5000) AS n;
INSERT INTO approvals (approval_id, workflow_id, task_id, fence, status, prompt, assignee, choices_json, token_hash)
SELECT 'a' || n, 'r' || n, 't', 1, 'PENDING', '', '', '[]', 'h' || n FROM generate_series(1, 5000) AS n;
INSERT INTO events (name, payload_json, created_at)
SELECT 'e' || n, '1', clock_timestamp() - n * interval '1 s' FROM generate_series(1, 5000) AS n;
"""


@pytest.fixture(scope="module")
def connection(postgres_server: str) -> Iterator[DurableConnection]:
    name = "scheduler_plans"
    admin = DurableConnection(postgres_server)
    admin.run(f"CREATE DATABASE {name}")
    url = postgres_server.replace("/postgres?", f"/{name}?")
    require_schema(url)
    connection = DurableConnection(url)
    connection.run(_FILL)
    connection.run("VACUUM ANALYZE")
    yield connection
    connection.close()
    admin.run(f"DROP DATABASE {name} WITH (FORCE)")
    admin.close()


@pytest.mark.parametrize(
    ("statement", "values", "indexes"),
    [
        (
            upkeep.LOOK,
            ([TaskStatus.WAITING_FOR_TIMER.value, TaskStatus.WAITING_FOR_EVENT.value], TaskStatus.RUNNING.value),
            {"idx_queue_due", "idx_queue_lease", "idx_schedules_next"},
        ),
        (schedules.DUE, ([], _OPEN, 100), {"idx_schedules_next", "uix_workflows_slot"}),
        (schedules.LOCK_DUE, ("s7",), set()),
        (upkeep.UNDELIVERED, (TaskStatus.WAITING_FOR_EVENT.value, "e7", 200), {"idx_queue_event"}),
        (
            upkeep.LOST,
            (["running"], ["QUEUED"], ["WAITING_FOR_TIMER"], 10, "DURABLE", "r7", 500),
            {"idx_workflows_open", "idx_tasks_workflow_status", "pk_task_queue", "idx_approvals_run"},
        ),
        (
            upkeep.LOCK_OLD_RUNS,
            ("DURABLE", 365, _FINAL, 365, _OPEN, _OPEN, 20),
            {"idx_workflows_start_time"},
        ),
        (upkeep.LOCK_RUN, ("r7", _OPEN), {"pk_workflows"}),
    ],
)
def test_a_frequent_statement_reads_no_table_from_end_to_end(
    connection: DurableConnection, statement: str, values: Sequence[Any], indexes: set[str]
) -> None:
    plan = "\n".join(row[0] for row in connection.fetch(f"EXPLAIN {statement}", values))
    assert "Seq Scan" not in plan, plan
    assert "Index Cond: (start_time" in plan or statement is not upkeep.LOCK_OLD_RUNS, plan
    assert {index for index in indexes if index in plan} == indexes, plan


_ENDED = """
INSERT INTO workflows (workflow_id, workflow_name, mode, status, start_time, updated_at, end_time, owner)
SELECT 'old' || n, 'test', 'DURABLE', 'completed', at, at, at, ''
  FROM (SELECT n, clock_timestamp() - interval '1 hour' AS at FROM generate_series(1, 3000) AS n) AS one;
INSERT INTO tasks (workflow_id, task_id, operator_type, dependencies_json, ordinal, created_at, updated_at,
       completed_at, status, attempt, node)
SELECT 'old' || n, 't', 'task', '[]', n, at, at, at, 'completed', 1, 1
  FROM (SELECT n, clock_timestamp() - interval '1 hour' AS at FROM generate_series(1, 3000) AS n) AS one;
"""
_ASLEEP = """
INSERT INTO workflows (workflow_id, workflow_name, mode, status, start_time, updated_at, owner)
SELECT 'run' || n, 'test', 'DURABLE', 'running', at, at, ''
  FROM (SELECT n, clock_timestamp() - interval '1 hour' AS at FROM generate_series(1, 3000) AS n) AS one;
INSERT INTO tasks (workflow_id, task_id, operator_type, dependencies_json, ordinal, created_at, updated_at, wake_up_at,
       status, attempt, node)
SELECT 'run' || n, 't', 'wait', '[]', n, at, at, at + interval '1 day', 'WAITING_FOR_TIMER', 1, 1
  FROM (SELECT n, clock_timestamp() - interval '1 hour' AS at FROM generate_series(1, 3000) AS n) AS one;
INSERT INTO task_queue (workflow_id, task_id, kind, status, due_at)
SELECT 'run' || n, 't', 'wake', 'WAITING_FOR_TIMER', clock_timestamp() + interval '1 day'
  FROM generate_series(1, 3000) AS n;
"""
_LOOKED_AT = ("Index Scan", "Index Only Scan", "Bitmap Heap Scan", "Seq Scan")


def _touched(plan: dict[str, Any]) -> int:
    rows = plan.get("Actual Rows", 0) + plan.get("Rows Removed by Filter", 0) if plan["Node Type"] in _LOOKED_AT else 0
    return int(rows * plan.get("Actual Loops", 1)) + sum(_touched(child) for child in plan.get("Plans", ()))


@pytest.mark.parametrize(
    ("statement", "values"),
    [
        (upkeep.LOST, (["running"], ["QUEUED"], ["WAITING_FOR_TIMER"], 10, "DURABLE", "run1", 300)),
        (reads.SELECT_OPEN_TASKS, ("run7", 100)),
    ],
)
def test_open_tasks_are_found_by_their_run_though_there_were_none_when_they_were_counted(
    postgres_url: str, statement: str, values: Sequence[Any]
) -> None:
    require_schema(postgres_url)
    connection = DurableConnection(postgres_url)
    try:
        connection.run(_ENDED)
        connection.run("VACUUM ANALYZE")
        connection.run(_ASLEEP)
        (plan,) = connection.value(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", values)
        assert _touched(plan["Plan"]) <= 300 * 6, plan
    finally:
        connection.close()
