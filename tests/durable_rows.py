"""Rows of DURABLE runs as no worker would write them: for tests of what looks at rows alone."""

from __future__ import annotations

from highway_core.persistence.durable_connection import DurableConnection


class Rows:
    """Writes rows, and says what has become of them."""

    def __init__(self, connection: DurableConnection) -> None:
        self.connection = connection

    def run(self, run_id: str, status: str = "running", *, age: float = 60, parent: str | None = None) -> None:
        """A run that began, was written last, and (if it is over) ended ``age`` seconds ago."""
        self.connection.run(
            "INSERT INTO workflows (workflow_id, workflow_name, mode, status, start_time, updated_at, end_time, owner,"
            " priority, parent_workflow_id) SELECT %s, 'test', 'DURABLE', %s, at, at,"
            " CASE WHEN %s IN ('completed', 'failed', 'cancelled') THEN at END, '', 7, %s"
            " FROM (SELECT clock_timestamp() - %s * interval '1 second' AS at) AS moment",
            (run_id, status, status, parent, age),
        )

    def task(self, run_id: str, task_id: str, status: str, *, age: float = 60, attempt: int = 0) -> None:
        """A task that was written last ``age`` seconds ago; its fence is three times its attempts."""
        self.connection.run(
            "INSERT INTO tasks (workflow_id, task_id, operator_type, dependencies_json, ordinal, created_at,"
            " updated_at, status, attempt, fence, node, completed_at)"
            " SELECT %s, %s, 'task', '[]', 0, at, at, %s, %s, 3 * %s, 0,"
            " CASE WHEN %s IN ('completed', 'failed', 'skipped', 'cancelled') THEN at END"
            " FROM (SELECT clock_timestamp() - %s * interval '1 second' AS at) AS moment",
            (run_id, task_id, status, attempt, attempt, status, age),
        )

    def queue(
        self,
        run_id: str,
        task_id: str = "",
        kind: str = "wake",
        status: str = "WAITING_FOR_TIMER",
        *,
        due_in: float | None = None,
        lease: float | None = None,
        event: str | None = None,
    ) -> None:
        """A row of the queue; ``due_in`` and ``lease`` are seconds from now."""
        self.connection.run(
            "INSERT INTO task_queue (workflow_id, task_id, kind, status, due_at, lease_until, event_name, fence,"
            " attempt, worker_id) VALUES (%s, %s, %s, %s, clock_timestamp() + %s * interval '1 second',"
            " clock_timestamp() + %s * interval '1 second', %s, 4, 2, %s)",
            (run_id, task_id, kind, status, due_in, lease, event, None if lease is None else "w1"),
        )

    def queued(self) -> list[tuple[str, str, str]]:
        """Run, task and kind of each claimable row."""
        return self._rows("status = 'QUEUED'")

    def waiting(self) -> list[tuple[str, str, str]]:
        """Run, task and kind of each row that cannot be claimed."""
        return self._rows("status <> 'QUEUED'")

    def counter(self, name: str) -> int:
        return int(self.connection.value("SELECT value FROM counters WHERE name = %s", (name,)) or 0)

    def _rows(self, condition: str) -> list[tuple[str, str, str]]:
        rows = self.connection.fetch(
            f"SELECT workflow_id, task_id, kind FROM task_queue WHERE {condition} ORDER BY 1, 2"
        )
        return [(row[0], row[1], row[2]) for row in rows]
