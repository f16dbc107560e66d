"""What PostgreSQL does inside the functions of DURABLE mode: the plans of their statements, as they are carried out."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.durable_sql import HASH, Sql

LARGE = frozenset({"task_queue", "tasks", "event_log", "workflows", "events", "approvals", "idempotency_keys"})
"""Tables that grow with what was ever done, or with what is to be done."""


@dataclass(frozen=True)
class Node:
    """One step of a plan."""

    statement: str
    kind: str
    table: str
    index: str
    rows: int
    removed: int

    def __str__(self) -> str:
        return f"{self.kind} {self.table} {self.index} rows={self.rows} in: {' '.join(self.statement.split())[:200]}"


def watch(sql: Sql) -> None:
    """From now on the connection tells the plan of every statement, those inside functions included."""
    sql.run("LOAD 'auto_explain'")
    settings = {"min_duration": "0", "analyze": "on", "nested_statements": "on", "format": "json", "level": "notice"}
    for name, value in settings.items():
        sql.run(f"SET auto_explain.log_{name} = {value}")
    sql.connection._connection.notices = deque()  # psycopg2's own keeps fifty.


def seen(sql: Sql) -> list[Node]:
    """The steps that read tables, since the last call."""
    notices = sql.connection._connection.notices
    nodes: list[Node] = []
    for notice in notices:
        start = notice.find("{")
        if start >= 0:
            told = json.loads(notice[start : notice.rfind("}") + 1])
            nodes += _nodes(told["Query Text"], told["Plan"])
    notices.clear()
    return nodes


def _nodes(statement: str, plan: dict[str, Any]) -> Iterator[Node]:
    kind, index = plan["Node Type"], plan.get("Index Name", "")
    if "Scan" in kind and (plan.get("Relation Name") in LARGE or index):
        loops = plan.get("Actual Loops", 1)
        rows = round(plan.get("Actual Rows", 0) * loops)
        removed = round((plan.get("Rows Removed by Filter", 0) + plan.get("Rows Removed by Index Recheck", 0)) * loops)
        yield Node(statement, kind, plan.get("Relation Name", ""), index, rows, removed)
    for child in plan.get("Plans", ()):
        yield from _nodes(statement, child)


def fill(sql: Sql, rows: int) -> None:
    """``rows`` ended tasks with their history, and as many queue rows of every kind, in a tenth as many runs."""
    runs = rows // 10
    sql.run("INSERT INTO workflow_definitions VALUES (%s, 'hello', '{}', now()) ON CONFLICT DO NOTHING", [HASH])
    sql.run(
        "INSERT INTO workflows (workflow_id, workflow_name, mode, status, start_time, updated_at, owner, log_seq,"
        " parent_workflow_id, definition_hash)"
        " SELECT 'run-' || n, 'hello', 'DURABLE', 'running', now(), now(), '', 1,"
        " CASE WHEN n %% 10 = 0 THEN 'run-' || n / 10 END, %s FROM generate_series(1, %s) AS n",
        [HASH, runs],
    )
    sql.run(
        "INSERT INTO tasks (workflow_id, task_id, operator_type, dependencies_json, ordinal, created_at, updated_at,"
        " completed_at, status, attempt, node, version, result_value_json)"
        " SELECT 'run-' || n %% %s + 1, 'done-' || n, 'task', '[]', n, now(), now(), now(), 'completed', 1, 1, 1, '1'"
        " FROM generate_series(1, %s) AS n",
        [runs, rows],
    )
    sql.run(
        "INSERT INTO event_log (workflow_id, seq, at, kind)"
        " SELECT 'run-' || n %% %s + 1, n, now(), 'task.completed' FROM generate_series(1, %s) AS n",
        [runs, rows],
    )
    sql.run(
        "INSERT INTO task_queue (workflow_id, task_id, kind, status, queue, priority, created_at, due_at, event_name,"
        " lease_until, fence) SELECT 'run-' || n %% %s + 1, 'task-' || n,"
        " CASE n %% 10 WHEN 0 THEN 'work' WHEN 1 THEN 'wake' WHEN 2 THEN 'wake' WHEN 3 THEN 'event' ELSE 'work' END,"
        " CASE n %% 10 WHEN 1 THEN 'WAITING_FOR_TIMER' WHEN 3 THEN 'WAITING_FOR_EVENT' WHEN 5 THEN 'PAUSED' WHEN 4 THEN"
        " CASE n %% 100 WHEN 4 THEN 'running' ELSE 'PAUSED' END ELSE 'QUEUED' END,"
        " CASE n %% 3 WHEN 0 THEN 'mail' ELSE 'default' END, n %% 5, now() - n * interval '1 ms',"
        " CASE WHEN n %% 10 IN (1, 3) THEN now() + (n - 1000) * interval '1 second' END,"
        " CASE WHEN n %% 10 = 3 THEN 'event-' || n END,"
        " CASE WHEN n %% 100 = 4 THEN now() + (n - 1000) * interval '1 second' END, 1"
        " FROM generate_series(1, %s) AS n",
        [runs, rows],
    )
    sql.run(
        "INSERT INTO events (name, payload_json) SELECT 'old-' || n, '1' FROM generate_series(1, %s) AS n", [rows // 10]
    )
    sql.run(
        "INSERT INTO idempotency_keys (key, workflow_id, payload_hash)"
        " SELECT 'old-' || n, 'run-' || n, 'payload' FROM generate_series(1, %s) AS n",
        [rows // 10],
    )
    sql.run(
        "INSERT INTO approvals (approval_id, workflow_id, task_id, fence, status, prompt, assignee, choices_json,"
        " token_hash) SELECT 'ap-' || n, 'run-' || n, 'ask', 1, 'PENDING', '', '', '[]', 'hash-' || n"
        " FROM generate_series(1, %s) AS n",
        [rows // 10],
    )
    sql.run(
        "INSERT INTO workflow_memory (id, workflow_id, memory_key, memory_value_json, created_at, updated_at)"
        " SELECT n, 'run-' || n, 'key', '1', now(), now() FROM generate_series(1, %s) AS n",
        [runs],
    )
