"""Approvals in a database without an engine: runs, tasks and approvals put there by SQL, as a worker's commit would."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from highway_core.lifecycle import ApprovalStatus, RunMode, RunStatus, TaskStatus
from highway_core.persistence.approval_store import ApprovalStore
from highway_core.persistence.durable_connection import ConnectionPool, DurableConnection
from highway_core.persistence.schema import upgrade
from highway_core.utils.approval_token import NewApproval, new_approval

KEY = b"the key of the tests, which is no secret"
PROMPT = "Approve expense report exp-test-123 for $500?"
MANAGER = "manager@company.com"


@dataclass
class Office:
    """A database with its approvals."""

    pool: ConnectionPool
    url: str

    @property
    def store(self) -> ApprovalStore:
        return ApprovalStore(self.pool)

    def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with self.pool.connection() as connection:
            return connection.fetch(statement, values)

    def define(self, definition_hash: str, name: str, document: str) -> None:
        self.sql(
            "INSERT INTO workflow_definitions (definition_hash, workflow_name, definition_json, created_at)"
            " VALUES (%s, %s, %s, now())",
            definition_hash,
            name,
            document,
        )

    def run(self, run_id: str, *, name: str = "expense_report_approval", definition: str | None = None) -> None:
        self.sql(
            "INSERT INTO workflows (workflow_id, workflow_name, mode, status, start_time, updated_at, variables_json,"
            " inputs_json, owner, definition_hash) VALUES (%s, %s, %s, %s, now(), now(), '{}', '{}', '', %s)",
            run_id,
            name,
            RunMode.DURABLE.value,
            RunStatus.RUNNING.value,
            definition,
        )

    def ask(
        self,
        run_id: str = "run-1",
        task_id: str = "request_manager_approval",
        *,
        seconds: float | None = 3600,
        prompt: str = PROMPT,
        assignee: str = MANAGER,
        choices: Sequence[str] = ("APPROVED", "DENIED"),
        fence: int = 1,
        notify_in: float = 30,
    ) -> NewApproval:
        """An approval that waits, and the row of the queue that waits with it. The run is made if need be."""
        if not self.sql("SELECT 1 FROM workflows WHERE workflow_id = %s", run_id):
            self.run(run_id)
        asked = new_approval(KEY)
        self.sql(
            "INSERT INTO approvals (approval_id, workflow_id, task_id, fence, status, prompt, assignee, choices_json,"
            " token_hash, expires_at, notify_after) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s,"
            " clock_timestamp() + %s * interval '1 second', clock_timestamp() + %s * interval '1 second')",
            asked.approval_id,
            run_id,
            task_id,
            fence,
            ApprovalStatus.PENDING.value,
            prompt,
            assignee,
            json.dumps(choices),
            asked.token_hash,
            seconds,
            notify_in,
        )
        self.sql(
            "INSERT INTO task_queue (workflow_id, task_id, kind, status, due_at) VALUES (%s, %s, 'approval', %s,"
            " clock_timestamp() + %s * interval '1 second')"
            " ON CONFLICT ON CONSTRAINT pk_task_queue DO UPDATE SET status = excluded.status",
            run_id,
            task_id,
            TaskStatus.WAITING_FOR_EVENT.value,
            seconds,
        )
        return asked

    def end_run(self, run_id: str, status: RunStatus = RunStatus.CANCELLED) -> None:
        """In one transaction under the run's lock, as the engine ends it."""
        with self.pool.connection() as connection, connection.transaction():
            end_run(connection, run_id, status)

    def queued(self, run_id: str = "run-1", task_id: str = "request_manager_approval") -> str | None:
        """The status of the row of the queue."""
        rows = self.sql("SELECT status FROM task_queue WHERE workflow_id = %s AND task_id = %s", run_id, task_id)
        return str(rows[0][0]) if rows else None


def end_run(connection: DurableConnection, run_id: str, status: RunStatus) -> None:
    """The statements of the end of a run; inside a transaction."""
    connection.run("SELECT 1 FROM workflows WHERE workflow_id = %s FOR NO KEY UPDATE", (run_id,))
    connection.run(
        "UPDATE approvals SET status = %s WHERE workflow_id = %s AND status = %s",
        (ApprovalStatus.CANCELLED.value, run_id, ApprovalStatus.PENDING.value),
    )
    connection.run("UPDATE workflows SET status = %s, end_time = now() WHERE workflow_id = %s", (status.value, run_id))
    connection.run("DELETE FROM task_queue WHERE workflow_id = %s", (run_id,))


@contextmanager
def an_office(url: str) -> Iterator[Office]:
    """The tables in the empty database at ``url``."""
    upgrade(url)
    office = Office(ConnectionPool(url), url)
    try:
        yield office
    finally:
        office.pool.close()
