"""How much of a queue, or of the runs of one workflow, is carried out at once and how fast; claims keep to it."""

from __future__ import annotations

from dataclasses import dataclass

from highway_core.persistence.durable_connection import ConnectionPool
from highway_core.persistence.statements import limits as statements


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit; ``scope`` is ``queue`` or ``workflow``. None: not limited in that way."""

    scope: str
    name: str
    max_running: int | None = None
    rate_per_second: float | None = None


class LimitStore:
    """The limits of a database. Thread-safe."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool

    def put(self, limit: Limit) -> None:
        """Set a limit, in the place of the one that was there."""
        values = (limit.scope, limit.name, limit.max_running, limit.rate_per_second, limit.rate_per_second)
        with self._pool.connection() as connection:
            connection.run(statements.PUT, values)

    def remove(self, scope: str, name: str) -> bool:
        """False if there was none."""
        with self._pool.connection() as connection:
            return connection.run(statements.REMOVE, (scope, name)) == 1

    def all(self) -> list[Limit]:
        """By scope and name."""
        with self._pool.connection() as connection:
            return [Limit(*row) for row in connection.fetch(statements.SELECT_ALL)]
