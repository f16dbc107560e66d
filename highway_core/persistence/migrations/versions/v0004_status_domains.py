"""Statuses are domains on PostgreSQL: ``v0004_status_domains.sql``; nothing on SQLite."""

from __future__ import annotations

from alembic import op

from highway_core.persistence.statements.durable_functions import STATUS_DOMAINS

revision = "highway_0004"
down_revision = "highway_0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(STATUS_DOMAINS, execution_options={"no_parameters": True})
