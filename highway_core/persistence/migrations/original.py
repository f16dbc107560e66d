"""Takes over the runs of the original library, which made its tables without versions.

What it made is moved aside into temporary tables, the new tables are made, and the runs are copied. Its databases
differ (columns came over time, names of constraints clash with ours), so nothing is altered in place. The runs are
kept as history: it did not store what an unfinished one would need to go on, so those become failed.
"""

from __future__ import annotations

from sqlalchemy import Connection

_OLD_TABLES = (
    "webhooks",
    "workflow_memory",
    "workflow_results",
    "task_executions",
    "task_dependencies",
    "task_queue",
    "tasks",
    "admin_tasks",
    "workflow_templates",
    "workflows",
)
"""Children before parents, as they can be dropped."""

_PLAIN_TASK_COLUMNS = (
    "workflow_id",
    "task_id",
    "operator_type",
    "runtime",
    "function",
    "image",
    "command_json",
    "args_json",
    "kwargs_json",
    "result_key",
    "started_at",
    "completed_at",
    "error_message",
    "result_value_json",
    "tags_json",
)
_CREATED = "COALESCE(created_at, CURRENT_TIMESTAMP)"
_UPDATED = "COALESCE(updated_at, created_at, CURRENT_TIMESTAMP)"
_NUMBER = "row_number() OVER (ORDER BY id)"
_OF_A_RUN = "workflow_id IN (SELECT workflow_id FROM workflows)"

_COPIES: tuple[tuple[str, dict[str, str], str, str], ...] = (
    # New table, its columns as expressions over the old one, which rows, and which of several under one key wins.
    (
        "workflows",
        {
            "workflow_id": "workflow_id",
            "workflow_name": "workflow_name",
            "mode": "CASE mode WHEN 'DURABLE' THEN 'DURABLE' ELSE 'LOCAL' END",
            "status": "CASE WHEN status IN ('completed', 'cancelled') THEN status ELSE 'failed' END",
            "start_time": "COALESCE(start_time, updated_at, CURRENT_TIMESTAMP)",
            "end_time": "COALESCE(end_time, updated_at)",
            "updated_at": "COALESCE(updated_at, start_time, CURRENT_TIMESTAMP)",
            "error_message": "CASE WHEN status IN ('failed', 'cancelled') THEN error_message"
            " WHEN status <> 'completed' THEN 'Unfinished when its database was upgraded.' END",
            "start_task": "NULLIF(start_task, '')",
            "variables_json": "variables_json",
            "owner": "''",
            "parent_workflow_id": "parent_workflow_id",
            "tags_json": "tags_json",
        },
        "1 = 1",
        "workflow_id",
    ),
    (
        "tasks",
        {column: column for column in _PLAIN_TASK_COLUMNS}
        | {
            "dependencies_json": "COALESCE(dependencies_json, '[]')",
            "ordinal": "row_number() OVER (ORDER BY created_at, task_id)",
            "created_at": _CREATED,
            "updated_at": _UPDATED,
            "status": "CASE WHEN status IN ('completed', 'failed', 'skipped') THEN status ELSE 'cancelled' END",
            "attempt": "CASE WHEN started_at IS NULL THEN 0 ELSE 1 END",
        },
        _OF_A_RUN,
        "created_at, task_id",
    ),
    (
        "workflow_results",
        {
            "id": _NUMBER,
            "workflow_id": "workflow_id",
            "task_id": "task_id",
            "result_key": "result_key",
            "result_value_json": "result_value_json",
            "result_type": "result_type",
            "error_details_json": "error_details_json",
            "created_at": _CREATED,
        },
        _OF_A_RUN,
        "id DESC",
    ),
    (
        "workflow_memory",
        {
            "id": _NUMBER,
            "workflow_id": "workflow_id",
            "memory_key": "memory_key",
            "memory_value_json": "memory_value_json",
            "created_at": _CREATED,
            "updated_at": _UPDATED,
        },
        _OF_A_RUN,
        "id DESC",
    ),
    (
        "task_dependencies",
        {
            "id": _NUMBER,
            "workflow_id": "workflow_id",
            "task_id": "task_id",
            "depends_on_task_id": "depends_on_task_id",
            "created_at": _CREATED,
        },
        _OF_A_RUN,
        "id",
    ),
)


def move_aside(connection: Connection) -> list[str]:
    """Copy the original library's tables into temporary ones and drop them; the names of those it had."""
    found = [name for name in _OLD_TABLES if connection.dialect.has_table(connection, name)]
    for name in found:
        connection.exec_driver_sql(f"CREATE TEMPORARY TABLE original_{name} AS SELECT * FROM {name}")  # noqa: S608
    cascade = " CASCADE" if connection.dialect.name == "postgresql" else ""
    for name in found:
        connection.exec_driver_sql(f"DROP TABLE {name}{cascade}")
    return found


def copy_back(connection: Connection, found: list[str]) -> None:
    """Fill the new tables from the temporary ones, and drop those.

    Queued jobs and webhooks stay behind: nothing could finish the jobs, and nobody had asked for the webhooks.
    """
    for table, columns, rows, order in _COPIES:
        if table in found:
            _add_missing(connection, table, columns)
            connection.exec_driver_sql(
                f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(columns.values())}"  # noqa: S608
                f" FROM original_{table} WHERE {rows} ORDER BY {order} ON CONFLICT DO NOTHING"
            )
    for name in found:
        connection.exec_driver_sql(f"DROP TABLE original_{name}")


def _add_missing(connection: Connection, table: str, columns: dict[str, str]) -> None:
    """Give the old table, as NULL, what its version of the library did not have yet."""
    dialect = connection.dialect
    old = {column["name"] for column in dialect.get_columns(connection, f"original_{table}")}
    for column in dialect.get_columns(connection, table):
        if column["name"] in columns and column["name"] not in old:
            kind = column["type"].compile(dialect)
            connection.exec_driver_sql(f"ALTER TABLE original_{table} ADD COLUMN {column['name']} {kind}")
