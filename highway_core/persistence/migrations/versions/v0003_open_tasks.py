"""The open tasks of a run are always found by their run: ``v0003_open_tasks.sql`` on PostgreSQL, nothing on SQLite."""

from __future__ import annotations

from alembic import op

from highway_core.persistence.statements.durable_functions import OPEN_TASKS

revision = "highway_0003"
down_revision = "highway_0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(OPEN_TASKS, execution_options={"no_parameters": True})
