"""The statements that store and load LOCAL runs, as text, made once for each dialect.

Text and not SQLAlchemy expressions: one save is one transaction of some 60 µs on SQLite, and this module must not
import SQLAlchemy. Everything that is written is an upsert or is scoped by ``workflow_id``, so that a transaction whose
answer was lost can be repeated. ``?`` stands for a value, ``VALUES ROWS`` for one row of values or many.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Self


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement: ``sql`` takes one row of values; an insert of many is ``head``, a ``row`` for each, ``tail``."""

    sql: str
    head: str = ""
    row: str = ""
    tail: str = ""

    @classmethod
    def of(cls, text: str, mark: str) -> Self:
        """The statement in the dialect whose values are written ``mark``."""
        head, rows, tail = text.partition("VALUES ROWS")
        if not rows:
            return cls(text.replace("?", mark))
        width = head.count(",") + 1
        head, row = f"{head}VALUES ", f"({', '.join([mark] * width)})"
        return cls(head + row + tail, head, row, tail)


@dataclass(frozen=True, slots=True)
class LocalStatements:
    """All of them, in one dialect; the texts below are written for SQLite and for PostgreSQL alike."""

    insert_definition: Statement
    insert_run: Statement
    take_over_run: Statement
    update_run: Statement
    update_variables: Statement
    upsert_task: Statement
    insert_attempt: Statement
    upsert_result: Statement
    upsert_memory: Statement
    insert_idempotent: Statement
    select_run: Statement
    select_tasks: Statement
    select_results: Statement
    select_memory: Statement
    select_owner: Statement
    select_idempotent: Statement

    @classmethod
    def of(cls, mark: str) -> Self:
        return cls(**{field.name: Statement.of(_TEXTS[field.name], mark) for field in fields(cls)})


_TEXTS = {
    "insert_definition": """
        INSERT INTO workflow_definitions (definition_hash, workflow_name, definition_json, created_at)
        VALUES ROWS ON CONFLICT (definition_hash) DO NOTHING""",
    "insert_run": """
        INSERT INTO workflows (
            workflow_id, workflow_name, mode, status, start_task, definition_hash, variables_json, inputs_json,
            parent_workflow_id, start_time, owner, updated_at)
        VALUES ROWS ON CONFLICT (workflow_id) DO NOTHING""",
    "take_over_run": """
        UPDATE workflows
        SET owner = ?, status = ?, updated_at = ?, error_message = NULL, result_json = NULL, end_time = NULL
        WHERE workflow_id = ? AND owner = ?""",
    "update_run": """
        UPDATE workflows SET status = ?, error_message = ?, result_json = ?, end_time = ?, updated_at = ?
        WHERE workflow_id = ?""",
    "update_variables": "UPDATE workflows SET variables_json = ?, updated_at = ? WHERE workflow_id = ?",
    # What the document fixes and created_at stay as they were first stored.
    "upsert_task": """
        INSERT INTO tasks (
            workflow_id, task_id, operator_type, runtime, function, image, command_json, args_json, kwargs_json,
            result_key, dependencies_json, ordinal, created_at, updated_at, status, attempt, started_at, completed_at,
            error_message, result_value_json, wake_up_at, progress_json)
        VALUES ROWS ON CONFLICT (workflow_id, task_id) DO UPDATE SET
            updated_at = excluded.updated_at, status = excluded.status, attempt = excluded.attempt,
            started_at = excluded.started_at, completed_at = excluded.completed_at,
            error_message = excluded.error_message, result_value_json = excluded.result_value_json,
            wake_up_at = excluded.wake_up_at, progress_json = excluded.progress_json""",
    "insert_attempt": """
        INSERT INTO task_executions (
            workflow_id, execution_id, task_id, attempt, executor_runtime, status, started_at, completed_at,
            duration_ms, error_message, created_at)
        VALUES ROWS ON CONFLICT (workflow_id, task_id, execution_id) DO NOTHING""",
    "upsert_result": """
        INSERT INTO workflow_results (id, workflow_id, task_id, result_key, result_value_json, created_at)
        VALUES ROWS ON CONFLICT (workflow_id, task_id, result_key) DO UPDATE SET
            result_value_json = excluded.result_value_json, created_at = excluded.created_at""",
    "upsert_memory": """
        INSERT INTO workflow_memory (id, workflow_id, memory_key, memory_value_json, created_at, updated_at)
        VALUES ROWS ON CONFLICT (workflow_id, memory_key) DO UPDATE SET
            memory_value_json = excluded.memory_value_json, updated_at = excluded.updated_at""",
    "insert_idempotent": """
        INSERT INTO idempotent_results (idempotency_key, result_json, workflow_id, created_at)
        VALUES ROWS ON CONFLICT (idempotency_key) DO NOTHING""",
    "select_run": """
        SELECT w.workflow_id, w.workflow_name, w.mode, w.status, w.start_task, w.definition_hash, d.definition_json,
            w.variables_json, w.inputs_json, w.parent_workflow_id, w.start_time, w.owner, w.error_message,
            w.result_json, w.end_time
        FROM workflows w LEFT JOIN workflow_definitions d ON d.definition_hash = w.definition_hash
        WHERE w.workflow_id = ?""",
    "select_tasks": """
        SELECT task_id, operator_type, runtime, function, image, command_json, args_json, kwargs_json, result_key,
            dependencies_json, status, attempt, created_at, started_at, completed_at, error_message,
            result_value_json, wake_up_at, progress_json
        FROM tasks WHERE workflow_id = ? ORDER BY ordinal""",
    "select_results": """
        SELECT task_id, result_key, result_value_json FROM workflow_results WHERE workflow_id = ? ORDER BY id""",
    "select_memory": """
        SELECT memory_key, memory_value_json FROM workflow_memory WHERE workflow_id = ? ORDER BY id""",
    "select_owner": "SELECT owner FROM workflows WHERE workflow_id = ?",
    "select_idempotent": "SELECT result_json FROM idempotent_results WHERE idempotency_key = ?",
}

SQLITE = LocalStatements.of("?")
POSTGRESQL = LocalStatements.of("%s")
