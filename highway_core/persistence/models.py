"""The tables. Names and columns are the public contract: scripts read ``workflows`` and ``tasks`` with raw SQL.

A key leads with ``workflow_id`` wherever rows belong to a run, so that the tables can be distributed by it; ``id``
columns are then only an order of creation. JSON is text in columns ending in ``_json``, with a property of the plain
name over it. A change here needs a migration: a test holds the two equal.

This is what both databases have. What PostgreSQL has beside it for DURABLE mode (more columns, its own ``task_queue``,
more tables) is SQL, in ``migrations/versions/v0002_durable.sql``, and is not read through these classes.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, synonym

from highway_core.lifecycle import RunMode, RunStatus, TaskStatus
from highway_core.persistence.columns import JsonView, UtcDateTime, one_of
from highway_core.persistence.ordinals import next_ordinal
from highway_core.persistence.webhook_status import WebhookStatus
from highway_core.utils.clock import utc_now

__all__ = [
    "Base",
    "IdempotentResult",
    "Task",
    "TaskDependency",
    "TaskExecution",
    "TaskQueue",
    "Webhook",
    "Workflow",
    "WorkflowDefinition",
    "WorkflowMemory",
    "WorkflowResult",
    "utc_now",
]

ONE_TREE = {"sqlite_with_rowid": False}
"""SQLite keeps the rows in their key's index: a save of a task touches half as many pages."""
UNFINISHED = text(f"status <> '{TaskStatus.COMPLETED.value}'")
"""SQLite keeps completed tasks out of the indexes beside the key, which finds them by their run: a save costs as many
pages as it touches."""


class Base(DeclarativeBase):
    """Knows every table."""

    metadata = MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
        }
    )
    type_annotation_map = {datetime: UtcDateTime(), str: Text()}  # noqa: RUF012  SQLAlchemy's own name and type


def _run_key() -> Mapped[str]:
    """The run that a row belongs to and goes with."""
    return mapped_column(ForeignKey("workflows.workflow_id", ondelete="CASCADE"))


def _ordinal() -> Mapped[int]:
    return mapped_column(BigInteger, default=next_ordinal)


class WorkflowDefinition(Base):
    """A document, stored once by the hash of its content."""

    __tablename__ = "workflow_definitions"

    definition_hash: Mapped[str] = mapped_column(primary_key=True)
    workflow_name: Mapped[str]
    definition_json: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=utc_now)

    definition = JsonView("definition_json", dict)


class Workflow(Base):
    """One run."""

    __tablename__ = "workflows"
    __table_args__ = (
        one_of("status", RunStatus),
        one_of("mode", RunMode),
        Index("idx_workflows_poll", "status", "mode"),
        Index("idx_workflows_name", "workflow_name"),
        Index("idx_workflows_start_time", "start_time"),
        Index(
            "idx_workflows_parent",
            "parent_workflow_id",
            sqlite_where=text("parent_workflow_id IS NOT NULL"),
            postgresql_where=text("parent_workflow_id IS NOT NULL"),
        ),
    )

    workflow_id: Mapped[str] = mapped_column(primary_key=True)
    workflow_name: Mapped[str]
    mode: Mapped[str] = mapped_column(default=RunMode.LOCAL.value)
    status: Mapped[str] = mapped_column(default=RunStatus.PENDING.value)
    start_time: Mapped[datetime] = mapped_column(default=utc_now)
    end_time: Mapped[datetime | None]
    updated_at: Mapped[datetime] = mapped_column(default=utc_now, onupdate=utc_now)
    error_message: Mapped[str | None]
    start_task: Mapped[str | None]
    variables_json: Mapped[str | None]
    inputs_json: Mapped[str | None]
    result_json: Mapped[str | None]
    definition_hash: Mapped[str | None] = mapped_column(ForeignKey("workflow_definitions.definition_hash"))
    owner: Mapped[str] = mapped_column(default="")
    """The process that drives a LOCAL run; empty if none ever did."""
    parent_workflow_id: Mapped[str | None]
    priority: Mapped[int | None]
    tags_json: Mapped[str | None]
    timeout_seconds: Mapped[int | None]

    name: Mapped[str] = synonym("workflow_name")
    variables = JsonView("variables_json", dict)
    inputs = JsonView("inputs_json", dict)
    result = JsonView("result_json")
    tags = JsonView("tags_json", list)


class Task(Base):
    """One task instance of a run; ``task_id`` is its path, loop iterations included."""

    __tablename__ = "tasks"
    __table_args__ = (
        PrimaryKeyConstraint("workflow_id", "task_id", name="uix_task_workflow_pair"),
        one_of("status", TaskStatus),
        Index("idx_tasks_workflow_id", "workflow_id", "ordinal", sqlite_where=UNFINISHED),
        Index("idx_tasks_status", "status", sqlite_where=UNFINISHED),
        Index("idx_tasks_workflow_status", "workflow_id", "status", sqlite_where=UNFINISHED),
        Index(
            "idx_tasks_poll_runnable",
            "status",
            "wake_up_at",
            sqlite_where=text("wake_up_at IS NOT NULL"),
            postgresql_where=text("wake_up_at IS NOT NULL"),
        ),
        Index(
            "idx_tasks_event_token",
            "event_token",
            unique=True,
            sqlite_where=text("event_token IS NOT NULL"),
            postgresql_where=text("event_token IS NOT NULL"),
        ),
    )

    workflow_id: Mapped[str] = _run_key()
    task_id: Mapped[str]
    operator_type: Mapped[str]
    runtime: Mapped[str | None]
    function: Mapped[str | None]
    image: Mapped[str | None]
    command_json: Mapped[str | None]
    args_json: Mapped[str | None]
    kwargs_json: Mapped[str | None]
    result_key: Mapped[str | None]
    dependencies_json: Mapped[str] = mapped_column(default="[]")
    ordinal: Mapped[int] = _ordinal()
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    started_at: Mapped[datetime | None]
    completed_at: Mapped[datetime | None]
    updated_at: Mapped[datetime] = mapped_column(default=utc_now, onupdate=utc_now)
    status: Mapped[str] = mapped_column(default=TaskStatus.PENDING.value)
    attempt: Mapped[int] = mapped_column(default=0)
    error_message: Mapped[str | None]
    """Why it failed, or why it was skipped."""
    result_value_json: Mapped[str | None]
    result_type: Mapped[str | None]
    wake_up_at: Mapped[datetime | None]
    event_token: Mapped[str | None]
    """The SHA-256 of the token; the token itself is not stored."""
    progress_json: Mapped[str | None]
    priority: Mapped[int | None]
    tags_json: Mapped[str | None]
    timeout_seconds: Mapped[int | None]
    max_retries: Mapped[int | None]
    retry_delay_seconds: Mapped[int | None]

    command = JsonView("command_json")
    args = JsonView("args_json", list)
    kwargs = JsonView("kwargs_json", dict)
    dependencies_list = JsonView("dependencies_json", list)
    result_value = JsonView("result_value_json")
    progress = JsonView("progress_json")
    tags = JsonView("tags_json", list)


class TaskQueue(Base):
    """A task that a durable worker may take or has taken; on PostgreSQL, DURABLE mode has its own table instead."""

    __tablename__ = "task_queue"
    __table_args__ = (
        PrimaryKeyConstraint("workflow_id", "task_id"),
        Index("idx_queue_poll", "status", "created_at"),
    )

    id: Mapped[int] = _ordinal()
    workflow_id: Mapped[str] = _run_key()
    task_id: Mapped[str]
    status: Mapped[str] = mapped_column(default=TaskStatus.QUEUED.value)
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


class TaskDependency(Base):
    """One edge of a durable run's graph. LOCAL runs keep theirs in ``tasks.dependencies_json``."""

    __tablename__ = "task_dependencies"
    __table_args__ = (
        PrimaryKeyConstraint("workflow_id", "task_id", "depends_on_task_id", name="uix_task_dependency_unique"),
        Index("idx_task_dependencies_depends_on", "workflow_id", "depends_on_task_id"),
    )

    id: Mapped[int] = _ordinal()
    workflow_id: Mapped[str] = _run_key()
    task_id: Mapped[str]
    depends_on_task_id: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


class WorkflowResult(Base):
    """A result under its key; of loops, one an iteration."""

    __tablename__ = "workflow_results"
    __table_args__ = (
        PrimaryKeyConstraint("workflow_id", "task_id", "result_key", name="uix_workflow_task_result_unique"),
        ONE_TREE,
    )

    id: Mapped[int] = _ordinal()
    workflow_id: Mapped[str] = _run_key()
    task_id: Mapped[str]
    result_key: Mapped[str]
    result_value_json: Mapped[str | None]
    result_type: Mapped[str | None]
    error_details_json: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(default=utc_now)

    result_value = JsonView("result_value_json")
    error_details = JsonView("error_details_json", dict)


class WorkflowMemory(Base):
    """What ``tools.memory.*`` keeps for a run."""

    __tablename__ = "workflow_memory"
    __table_args__ = (
        PrimaryKeyConstraint("workflow_id", "memory_key", name="uix_workflow_memory_key_unique"),
        ONE_TREE,
    )

    id: Mapped[int] = _ordinal()
    workflow_id: Mapped[str] = _run_key()
    memory_key: Mapped[str]
    memory_value_json: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    updated_at: Mapped[datetime] = mapped_column(default=utc_now, onupdate=utc_now)

    memory_value = JsonView("memory_value_json")


class TaskExecution(Base):
    """One attempt that is over."""

    __tablename__ = "task_executions"
    __table_args__ = (
        PrimaryKeyConstraint("workflow_id", "task_id", "execution_id"),
        one_of("status", TaskStatus),
        ONE_TREE,
    )

    execution_id: Mapped[str]
    """``<task>#<attempt>@<start>``: an attempt number can come again after a resume, its start cannot."""
    workflow_id: Mapped[str] = _run_key()
    task_id: Mapped[str]
    attempt: Mapped[int]
    executor_runtime: Mapped[str | None]
    execution_args_json: Mapped[str | None]
    execution_kwargs_json: Mapped[str | None]
    result_json: Mapped[str | None]
    error_message: Mapped[str | None]
    started_at: Mapped[datetime | None]
    completed_at: Mapped[datetime | None]
    duration_ms: Mapped[int | None] = mapped_column(BigInteger)
    status: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=utc_now)

    execution_args = JsonView("execution_args_json", list)
    execution_kwargs = JsonView("execution_kwargs_json", dict)
    result = JsonView("result_json")


class IdempotentResult(Base):
    """The result that every execution under one idempotency key returns; outlives the run that made it."""

    __tablename__ = "idempotent_results"

    idempotency_key: Mapped[str] = mapped_column(primary_key=True)
    result_json: Mapped[str]
    workflow_id: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(default=utc_now)

    result = JsonView("result_json")


class Webhook(Base):
    """One call to make to somebody else's URL. Belongs to no run for certain, so ``id`` is its key."""

    __tablename__ = "webhooks"
    __table_args__ = (
        UniqueConstraint(
            "execution_id", "task_id", "workflow_id", "webhook_type", name="uix_webhook_task_execution_type"
        ),
        one_of("status", WebhookStatus),
        Index("idx_webhooks_workflow", "workflow_id"),
        Index("idx_webhooks_status", "status", "next_retry_at"),
    )

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True)
    task_id: Mapped[str | None]
    execution_id: Mapped[str | None]
    workflow_id: Mapped[str | None]
    url: Mapped[str]
    method: Mapped[str] = mapped_column(default="POST")
    headers_json: Mapped[str | None]
    payload_json: Mapped[str | None]
    webhook_type: Mapped[str]
    status: Mapped[str] = mapped_column(default=WebhookStatus.PENDING.value)
    retry_count: Mapped[int] = mapped_column(default=0)
    max_retries: Mapped[int] = mapped_column(default=3)
    next_retry_at: Mapped[datetime | None]
    lease_until: Mapped[datetime | None]
    """While it is being sent: when another runner may claim it."""
    fence: Mapped[int] = mapped_column(default=0)
    """Counts the claims; an answer under an older number comes too late."""
    delivery_id: Mapped[str]
    """The same for every attempt to send it, so that the receiver can tell a repetition."""
    response_status: Mapped[int | None]
    response_headers_json: Mapped[str | None]
    response_body: Mapped[str | None]
    rate_limit_requests: Mapped[int] = mapped_column(default=10)
    rate_limit_window: Mapped[int] = mapped_column(default=60)
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    updated_at: Mapped[datetime] = mapped_column(default=utc_now, onupdate=utc_now)

    headers = JsonView("headers_json", dict)
    payload = JsonView("payload_json", dict)
    response_headers = JsonView("response_headers_json", dict)
