"""The first schema with a version; takes over the runs of the original library where its tables exist."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from highway_core.persistence.migrations.original import copy_back, move_aside

revision = "highway_0001"
down_revision = None
branch_labels = None
depends_on = None

_TASK_STATUS = (
    "status = 'PENDING' OR status = 'QUEUED' OR status = 'running' OR status = 'WAITING_FOR_TIMER'"
    " OR status = 'WAITING_FOR_EVENT' OR status = 'WAITING_FOR_CHILDREN' OR status = 'completed'"
    " OR status = 'failed' OR status = 'skipped' OR status = 'upstream_failed' OR status = 'cancelled'"
)
_RUN_STATUS = (
    "status = 'PENDING' OR status = 'running' OR status = 'PAUSED' OR status = 'completed'"
    " OR status = 'failed' OR status = 'cancelled'"
)
_WEBHOOK_STATUS = (
    "status = 'pending' OR status = 'sending' OR status = 'sent' OR status = 'failed'"
    " OR status = 'retry_scheduled' OR status = 'cancelled'"
)


def upgrade() -> None:
    connection = op.get_bind()
    original = move_aside(connection)
    _create_runs()
    _create_tasks()
    _create_values()
    _create_webhooks()
    copy_back(connection, original)


def _text(name: str, nullable: bool = True) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=nullable)


def _time(name: str, nullable: bool = True) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _number(name: str, nullable: bool = True) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), nullable=nullable)


def _order(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False)


def _of_run(table: str) -> sa.ForeignKeyConstraint:
    name = f"fk_{table}_workflow_id"
    return sa.ForeignKeyConstraint(["workflow_id"], ["workflows.workflow_id"], name=name, ondelete="CASCADE")


def _partial_index(name: str, table: str, columns: list[str], unique: bool = False) -> None:
    where = sa.text(f"{columns[-1]} IS NOT NULL")
    op.create_index(name, table, columns, unique=unique, sqlite_where=where, postgresql_where=where)


def _create_runs() -> None:
    op.create_table(
        "workflow_definitions",
        _text("definition_hash", nullable=False),
        _text("workflow_name", nullable=False),
        _text("definition_json", nullable=False),
        _time("created_at", nullable=False),
        sa.PrimaryKeyConstraint("definition_hash", name="pk_workflow_definitions"),
    )
    op.create_table(
        "workflows",
        _text("workflow_id", nullable=False),
        _text("workflow_name", nullable=False),
        _text("mode", nullable=False),
        _text("status", nullable=False),
        _time("start_time", nullable=False),
        _time("end_time"),
        _time("updated_at", nullable=False),
        _text("error_message"),
        _text("start_task"),
        _text("variables_json"),
        _text("inputs_json"),
        _text("result_json"),
        _text("definition_hash"),
        _text("owner", nullable=False),
        _text("parent_workflow_id"),
        _number("priority"),
        _text("tags_json"),
        _number("timeout_seconds"),
        sa.PrimaryKeyConstraint("workflow_id", name="pk_workflows"),
        sa.CheckConstraint(_RUN_STATUS, name="ck_workflows_status"),
        sa.CheckConstraint("mode = 'LOCAL' OR mode = 'DURABLE'", name="ck_workflows_mode"),
        sa.ForeignKeyConstraint(
            ["definition_hash"], ["workflow_definitions.definition_hash"], name="fk_workflows_definition_hash"
        ),
    )
    op.create_index("idx_workflows_poll", "workflows", ["status", "mode"])
    op.create_index("idx_workflows_name", "workflows", ["workflow_name"])
    op.create_index("idx_workflows_start_time", "workflows", ["start_time"])
    _partial_index("idx_workflows_parent", "workflows", ["parent_workflow_id"])


def _create_tasks() -> None:
    op.create_table(
        "tasks",
        _text("workflow_id", nullable=False),
        _text("task_id", nullable=False),
        _text("operator_type", nullable=False),
        *map(_text, ("runtime", "function", "image", "command_json", "args_json", "kwargs_json", "result_key")),
        _text("dependencies_json", nullable=False),
        _order("ordinal"),
        _time("created_at", nullable=False),
        _time("started_at"),
        _time("completed_at"),
        _time("updated_at", nullable=False),
        _text("status", nullable=False),
        _number("attempt", nullable=False),
        _text("error_message"),
        _text("result_value_json"),
        _text("result_type"),
        _time("wake_up_at"),
        _text("event_token"),
        _text("progress_json"),
        _number("priority"),
        _text("tags_json"),
        _number("timeout_seconds"),
        _number("max_retries"),
        _number("retry_delay_seconds"),
        sa.PrimaryKeyConstraint("workflow_id", "task_id", name="uix_task_workflow_pair"),
        sa.CheckConstraint(_TASK_STATUS, name="ck_tasks_status"),
        _of_run("tasks"),
    )
    unfinished = sa.text("status <> 'completed'")
    op.create_index("idx_tasks_workflow_id", "tasks", ["workflow_id", "ordinal"], sqlite_where=unfinished)
    op.create_index("idx_tasks_status", "tasks", ["status"], sqlite_where=unfinished)
    op.create_index("idx_tasks_workflow_status", "tasks", ["workflow_id", "status"], sqlite_where=unfinished)
    _partial_index("idx_tasks_poll_runnable", "tasks", ["status", "wake_up_at"])
    _partial_index("idx_tasks_event_token", "tasks", ["event_token"], unique=True)
    op.create_table(
        "task_queue",
        _order("id"),
        _text("workflow_id", nullable=False),
        _text("task_id", nullable=False),
        _text("status", nullable=False),
        _time("created_at", nullable=False),
        sa.PrimaryKeyConstraint("workflow_id", "task_id", name="pk_task_queue"),
        _of_run("task_queue"),
    )
    op.create_index("idx_queue_poll", "task_queue", ["status", "created_at"])
    op.create_table(
        "task_dependencies",
        _order("id"),
        _text("workflow_id", nullable=False),
        _text("task_id", nullable=False),
        _text("depends_on_task_id", nullable=False),
        _time("created_at", nullable=False),
        sa.PrimaryKeyConstraint("workflow_id", "task_id", "depends_on_task_id", name="uix_task_dependency_unique"),
        _of_run("task_dependencies"),
    )
    op.create_index("idx_task_dependencies_depends_on", "task_dependencies", ["workflow_id", "depends_on_task_id"])
    op.create_table(
        "task_executions",
        _text("execution_id", nullable=False),
        _text("workflow_id", nullable=False),
        _text("task_id", nullable=False),
        _number("attempt", nullable=False),
        *map(_text, ("executor_runtime", "execution_args_json", "execution_kwargs_json", "result_json")),
        _text("error_message"),
        _time("started_at"),
        _time("completed_at"),
        sa.Column("duration_ms", sa.BigInteger(), nullable=True),
        _text("status", nullable=False),
        _time("created_at", nullable=False),
        sa.PrimaryKeyConstraint("workflow_id", "task_id", "execution_id", name="pk_task_executions"),
        sa.CheckConstraint(_TASK_STATUS, name="ck_task_executions_status"),
        _of_run("task_executions"),
        sqlite_with_rowid=False,
    )


def _create_values() -> None:
    op.create_table(
        "workflow_results",
        _order("id"),
        _text("workflow_id", nullable=False),
        _text("task_id", nullable=False),
        _text("result_key", nullable=False),
        _text("result_value_json"),
        _text("result_type"),
        _text("error_details_json"),
        _time("created_at", nullable=False),
        sa.PrimaryKeyConstraint("workflow_id", "task_id", "result_key", name="uix_workflow_task_result_unique"),
        _of_run("workflow_results"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "workflow_memory",
        _order("id"),
        _text("workflow_id", nullable=False),
        _text("memory_key", nullable=False),
        _text("memory_value_json"),
        _time("created_at", nullable=False),
        _time("updated_at", nullable=False),
        sa.PrimaryKeyConstraint("workflow_id", "memory_key", name="uix_workflow_memory_key_unique"),
        _of_run("workflow_memory"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "idempotent_results",
        _text("idempotency_key", nullable=False),
        _text("result_json", nullable=False),
        _text("workflow_id"),
        _time("created_at", nullable=False),
        sa.PrimaryKeyConstraint("idempotency_key", name="pk_idempotent_results"),
    )


def _create_webhooks() -> None:
    op.create_table(
        "webhooks",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        *map(_text, ("task_id", "execution_id", "workflow_id")),
        _text("url", nullable=False),
        _text("method", nullable=False),
        *map(_text, ("headers_json", "payload_json")),
        _text("webhook_type", nullable=False),
        _text("status", nullable=False),
        _number("retry_count", nullable=False),
        _number("max_retries", nullable=False),
        _time("next_retry_at"),
        _time("lease_until"),
        _number("fence", nullable=False),
        _text("delivery_id", nullable=False),
        _number("response_status"),
        *map(_text, ("response_headers_json", "response_body")),
        _number("rate_limit_requests", nullable=False),
        _number("rate_limit_window", nullable=False),
        _time("created_at", nullable=False),
        _time("updated_at", nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_webhooks"),
        sa.UniqueConstraint(
            "execution_id", "task_id", "workflow_id", "webhook_type", name="uix_webhook_task_execution_type"
        ),
        sa.CheckConstraint(_WEBHOOK_STATUS, name="ck_webhooks_status"),
    )
    op.create_index("idx_webhooks_workflow", "webhooks", ["workflow_id"])
    op.create_index("idx_webhooks_status", "webhooks", ["status", "next_retry_at"])
