"""``DatabaseManager``: reading runs, tasks and webhooks of a database, and creating durable runs.

LOCAL runs are written by ``sql_persistence``, durable ones by the services; nothing here moves a status.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from highway_core.errors import RunConflictError
from highway_core.lifecycle import RunMode, RunStatus, TaskStatus
from highway_core.persistence.models import Task, TaskDependency, Workflow
from highway_core.persistence.statements import runs
from highway_core.persistence.webhook_store import WebhookStore
from highway_core.utils.approval_token import token_digest

__all__ = ["DatabaseManager", "get_db_manager", "token_digest"]


class DatabaseManager(WebhookStore):
    """One database. Any number of managers may be open on it; they share its connections.

    Whatever cannot be read or written raises StorageError; None or an empty list means that there is nothing.
    """

    def load_workflow(self, workflow_id: str) -> dict[str, Any] | None:
        """One run, or None."""
        with self.session_scope() as session:
            run = session.scalars(runs.run_by_id(workflow_id)).one_or_none()
        return None if run is None else _run_dict(run)

    def get_workflows_by_status(self, status: str, mode: str = RunMode.DURABLE) -> list[Workflow]:
        """Oldest first."""
        with self.session_scope() as session:
            return list(session.scalars(runs.runs_by_status(str(status), str(mode))))

    def get_task_by_id(self, workflow_id: str, task_id: str) -> Task | None:
        with self.session_scope() as session:
            return session.scalars(runs.task_by_id(workflow_id, task_id)).one_or_none()

    def get_tasks_by_workflow(self, workflow_id: str) -> list[dict[str, Any]]:
        """In order of creation."""
        with self.session_scope() as session:
            return [_task_dict(task) for task in session.scalars(runs.tasks_of_run(workflow_id))]

    def get_tasks_by_status(self, workflow_id: str, status: str) -> list[Task]:
        """In order of creation."""
        with self.session_scope() as session:
            return list(session.scalars(runs.tasks_by_status(workflow_id, str(status))))

    def get_task_dependencies(self, workflow_id: str, task_id: str) -> list[str]:
        """The ids that the task names; none for an unknown task."""
        task = self.get_task_by_id(workflow_id, task_id)
        return [] if task is None else list(task.dependencies_list)

    def get_task_by_token(self, token: str) -> Task | None:
        """The task that waits for the holder of ``token``; the database knows only its digest."""
        with self.session_scope() as session:
            return session.scalars(runs.task_by_token_hash(token_digest(token))).one_or_none()

    def store_result(self, workflow_id: str, task_id: str, result_key: str, result_value: Any) -> None:
        """Store a result under its key, or replace it."""
        values = {
            "workflow_id": workflow_id,
            "task_id": task_id,
            "result_key": result_key,
            "result_value_json": json.dumps(result_value),
        }
        with self.session_scope(immediate=True) as session:
            session.execute(runs.upsert_result(self.engine.dialect.name, values))

    def create_durable_workflow(
        self,
        workflow_id: str,
        workflow_name: str,
        start_task_id: str | None,
        variables: Mapping[str, Any],
        tasks: Sequence[Mapping[str, Any]],
    ) -> str:
        """Create a run and its tasks, all of them PENDING; RunConflictError if the id is taken."""
        with self.session_scope(immediate=True) as session:
            if session.get(Workflow, workflow_id) is not None:
                raise RunConflictError(f"Run '{workflow_id}' exists already: choose another run id.")
            session.add(
                Workflow(
                    workflow_id=workflow_id,
                    workflow_name=workflow_name,
                    mode=RunMode.DURABLE.value,
                    status=RunStatus.PENDING.value,
                    start_task=start_task_id,
                    variables=dict(variables),
                )
            )
            session.flush()
            for task in tasks:
                session.add_all(_durable_task(workflow_id, task))
        return workflow_id


def get_db_manager(db_path: str | Path | None = None, engine_url: str | None = None) -> DatabaseManager:
    """A manager of the database of that URL, else of that SQLite file, else of the settings."""
    return DatabaseManager(db_path, engine_url)


def _durable_task(workflow_id: str, task: Mapping[str, Any]) -> list[Task | TaskDependency]:
    names = ("runtime", "function", "image", "command", "args", "kwargs", "result_key")
    dependencies = list(dict.fromkeys(task.get("dependencies") or ()))
    row = Task(
        workflow_id=workflow_id,
        task_id=task["task_id"],
        operator_type=task["operator_type"],
        status=TaskStatus.PENDING.value,
        dependencies_list=dependencies,
        **{name: task.get(name) for name in names},
    )
    edges = [
        TaskDependency(workflow_id=workflow_id, task_id=row.task_id, depends_on_task_id=name) for name in dependencies
    ]
    return [row, *edges]


def _run_dict(run: Workflow) -> dict[str, Any]:
    return {
        "workflow_id": run.workflow_id,
        "workflow_name": run.workflow_name,
        "name": run.workflow_name,
        "mode": run.mode,
        "status": run.status,
        "start_task": run.start_task,
        "variables": run.variables,
        "inputs": run.inputs,
        "result": run.result,
        "error_message": run.error_message,
        "parent_workflow_id": run.parent_workflow_id,
        "created_at": run.start_time,
        "start_time": run.start_time,
        "end_time": run.end_time,
        "updated_at": run.updated_at,
    }


def _task_dict(task: Task) -> dict[str, Any]:
    return {
        "task_id": task.task_id,
        "operator_type": task.operator_type,
        "runtime": task.runtime,
        "function": task.function,
        "status": task.status,
        "attempt": task.attempt,
        "result_key": task.result_key,
        "result": task.result_value,
        "dependencies": task.dependencies_list,
        "created_at": task.created_at,
        "started_at": task.started_at,
        "completed_at": task.completed_at,
        "wake_up_at": task.wake_up_at,
        "error_message": task.error_message,
    }
