"""The statements of ``DatabaseManager`` on runs, tasks and results, whatever the mode."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Insert, Select, select
from sqlalchemy.dialects import postgresql, sqlite

from highway_core.persistence.models import Task, Workflow, WorkflowResult


def run_by_id(run_id: str) -> Select[Workflow]:
    return select(Workflow).where(Workflow.workflow_id == run_id)


def runs_by_status(status: str, mode: str) -> Select[Workflow]:
    """Oldest first."""
    return select(Workflow).where(Workflow.status == status, Workflow.mode == mode).order_by(Workflow.start_time)


def task_by_id(run_id: str, task_id: str) -> Select[Task]:
    return select(Task).where(Task.workflow_id == run_id, Task.task_id == task_id)


def tasks_of_run(run_id: str) -> Select[Task]:
    """In order of creation."""
    return select(Task).where(Task.workflow_id == run_id).order_by(Task.ordinal)


def tasks_by_status(run_id: str, status: str) -> Select[Task]:
    return tasks_of_run(run_id).where(Task.status == status)


def task_by_token_hash(digest: str) -> Select[Task]:
    return select(Task).where(Task.event_token == digest)


def upsert_result(dialect: str, values: dict[str, Any]) -> Insert:
    """Insert a result or replace its value; the order of creation stays."""
    insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
    statement = insert(WorkflowResult).values(values)
    return statement.on_conflict_do_update(
        index_elements=["workflow_id", "task_id", "result_key"],
        set_={name: statement.excluded[name] for name in ("result_value_json", "created_at")},
    )
