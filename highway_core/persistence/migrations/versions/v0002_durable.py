"""What DURABLE mode needs: ``v0002_durable.sql`` on PostgreSQL, nothing on SQLite, which holds LOCAL runs only."""

from __future__ import annotations

from alembic import op

from highway_core.persistence.statements.durable_functions import DURABLE_TABLES

revision = "highway_0002"
down_revision = "highway_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(DURABLE_TABLES, execution_options={"no_parameters": True})
