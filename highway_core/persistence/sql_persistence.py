"""LOCAL runs in SQLite or PostgreSQL: one transaction a save, one connection a manager."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from highway_core.errors import RunConflictError, RunNotFoundError, StorageError
from highway_core.lifecycle import RunStatus
from highway_core.persistence import rows
from highway_core.persistence.connection import StoreConnection
from highway_core.persistence.location import Location, locate
from highway_core.persistence.manager import (
    ResultRecord,
    RunChanges,
    RunRecord,
    SavedRun,
    SavedState,
    TaskRecord,
)
from highway_core.persistence.saved_state import state_of
from highway_core.persistence.sqlite_connection import SqliteConnection
from highway_core.persistence.statements.local import Statement
from highway_core.utils.clock import utc_now


class SQLPersistenceManager:
    """A store of LOCAL runs in the database of a URL, else of a SQLite file, else of the settings.

    Thread-safe. Opens the database, and creates or upgrades its tables, when it is made.
    """

    def __init__(self, db_path: str | Path | None = None, engine_url: str | None = None) -> None:
        location = locate(db_path, engine_url)
        self.engine_url = location.url
        self._connection = _connect(location)

    def create_run(self, run: RunRecord) -> None:
        sql, now = self._connection.statements, self._now()
        definition = (run.definition_hash, run.workflow_name, run.definition_json, now)
        created = self._connection.write(
            f"create run '{run.run_id}'",
            [
                (sql.insert_definition, [definition]),
                (sql.insert_run, [rows.run_row(run, self._connection.stamp, now)]),
            ],
        )
        if not created:
            raise RunConflictError(f"Run '{run.run_id}' exists already: resume it or choose another run id.")

    def take_over(self, run_id: str, expected_owner: str, owner: str, status: RunStatus) -> None:
        sql = self._connection.statements
        row = (owner, status.value, self._now(), run_id, expected_owner)
        if self._connection.write(f"take over run '{run_id}'", [(sql.take_over_run, [row])]):
            return
        found = self._connection.read(f"read run '{run_id}'", (sql.select_owner, (run_id,)))[0]
        if not found:
            raise RunNotFoundError(f"There is no run '{run_id}' to resume.")
        raise RunConflictError(f"Run '{run_id}' was taken over by {found[0][0] or 'another process'} in the meantime.")

    def load_run(self, run_id: str) -> SavedRun | None:
        return self._load(run_id)[0]

    def save(self, changes: RunChanges) -> None:
        batch = self._batch(changes)
        if not batch:
            return
        try:
            touched = self._connection.write(f"save run '{changes.run_id}'", batch)
        except StorageError as error:
            if "foreign key constraint" in str(error).lower():
                raise _never_created(changes.run_id) from error
            raise
        if touched == 0 and (changes.run is not None or changes.variables is not None):
            raise _never_created(changes.run_id)

    def find_idempotent(self, key: str) -> str | None:
        sql = self._connection.statements
        found = self._connection.read(f"look up the idempotency key '{key}'", (sql.select_idempotent, (key,)))[0]
        return found[0][0] if found else None

    def load_workflow_state(self, run_id: str) -> tuple[SavedState | None, set[str]]:
        run, results = self._load(run_id)
        return state_of(run, results) if run is not None else (None, set())

    def close(self) -> None:
        self._connection.close()

    def _now(self) -> Any:
        return self._connection.stamp(utc_now())

    def _load(self, run_id: str) -> tuple[SavedRun | None, list[ResultRecord]]:
        sql, key = self._connection.statements, (run_id,)
        queries = (sql.select_run, sql.select_tasks, sql.select_memory, sql.select_results)
        run, tasks, memory, results = self._connection.read(
            f"read run '{run_id}'", *((query, key) for query in queries)
        )
        if not run:
            return None, []
        saved = rows.saved_run(run[0], tasks, memory, self._connection.moment)
        return saved, [ResultRecord(*result) for result in results]

    def _batch(self, changes: RunChanges) -> list[tuple[Statement, Sequence[rows.Row]]]:
        """The statements of one save; those on the run's own row last, so that their count is the batch's."""
        sql, stamp, now, run_id = self._connection.statements, self._connection.stamp, self._now(), changes.run_id
        batch: list[tuple[Statement, Sequence[rows.Row]]] = []
        if changes.tasks:
            batch.append((sql.upsert_task, rows.task_rows(run_id, _last_of_each(changes.tasks), stamp, now)))
        if changes.attempts:
            batch.append((sql.insert_attempt, rows.attempt_rows(run_id, changes.attempts, stamp, now)))
        if changes.results:
            results = {(result.task_id, result.result_key): result for result in changes.results}
            batch.append((sql.upsert_result, rows.result_rows(run_id, results.values(), now)))
        if changes.memory:
            batch.append((sql.upsert_memory, rows.memory_rows(run_id, changes.memory, now)))
        if changes.idempotent:
            kept = [(key, value, run_id, now) for key, value in changes.idempotent.items()]
            batch.append((sql.insert_idempotent, kept))
        if changes.variables is not None:
            variables = rows.json_text(changes.variables, "Variable")
            batch.append((sql.update_variables, [(variables, now, run_id)]))
        if changes.run is not None:
            batch.append((sql.update_run, [rows.run_update_row(run_id, changes.run, stamp, now)]))
        return batch


def _connect(location: Location) -> StoreConnection:
    if location.dialect == "sqlite":
        return SqliteConnection(location)
    # SQLAlchemy and psycopg2 take 200 ms to import, and SQLite needs neither.
    from highway_core.persistence.postgres_connection import PostgresConnection  # noqa: PLC0415

    return PostgresConnection(location)


def _never_created(run_id: str) -> StorageError:
    return StorageError(f"Run '{run_id}' cannot be saved: it was never created.")


def _last_of_each(tasks: Sequence[TaskRecord]) -> Collection[TaskRecord]:
    """PostgreSQL refuses to write one row twice in a statement; what the first one fixed stays fixed."""
    if len(tasks) == 1:
        return tasks
    last: dict[str, TaskRecord] = {}
    for task in tasks:
        first = last.get(task.task_id)
        if first is not None:
            task = task._replace(columns=first.columns, created_at=first.created_at)  # noqa: PLW2901
        last[task.task_id] = task
    return last.values()
