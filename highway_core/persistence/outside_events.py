"""Events that come from outside: stored, delivered to who waits for them, and the workers told that there is work."""

from __future__ import annotations

from highway_core.persistence.durable_connection import ConnectionPool
from highway_core.persistence.statements import events as sql


class OutsideEvents:
    """Events for the runs of one database. Thread-safe."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool

    def emit(self, name: str, payload_json: str, by: str) -> int:
        """Store an event; how many tasks waited for it. A task that waits later finds it too."""
        with self._pool.connection() as connection:
            woken = int(connection.value(sql.EMIT, (name, payload_json, by)))
            if woken:
                # A transaction of its own: a commit that notifies takes a lock on the whole database.
                connection.run(sql.THERE_IS_WORK)
        return woken
