"""How much of a queue, or of the runs of one workflow, is carried out at once and how fast; claims keep to it."""

from __future__ import annotations

from collections.abc import Iterable
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


@dataclass(frozen=True, slots=True)
class Limited:
    """The names that have a limit."""

    queues: frozenset[str] = frozenset()
    workflows: frozenset[str] = frozenset()

    @classmethod
    def of(cls, rows: Iterable[tuple[str, str]]) -> Limited:
        """From scopes and names."""
        names = list(rows)
        queues, workflows = (frozenset(name for one, name in names if one == scope) for scope in ("queue", "workflow"))
        return cls(queues, workflows)

    def __contains__(self, work: tuple[str, str]) -> bool:
        """Whether a limit is about the work of that queue and workflow."""
        queue, workflow_name = work
        return queue in self.queues or workflow_name in self.workflows


class LimitStore:
    """The limits of a database. Thread-safe. Workers know of a change within seconds, claims at once."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool

    def put(self, limit: Limit) -> None:
        """Set a limit, in the place of the one that was there."""
        values = (limit.scope, limit.name, limit.max_running, limit.rate_per_second, limit.rate_per_second)
        with self._pool.connection() as connection:
            connection.run(statements.PUT, values)
            connection.run(statements.CALL)

    def remove(self, scope: str, name: str) -> bool:
        """False if there was none."""
        with self._pool.connection() as connection:
            with connection.transaction():
                removed = connection.run(statements.REMOVE, (scope, name)) == 1
                if removed and scope == "workflow":
                    connection.run(statements.CLEAR_LANE, (name,))
            connection.run(statements.CALL)
            return removed

    def all(self) -> list[Limit]:
        """By scope and name."""
        with self._pool.connection() as connection:
            return [Limit(*row) for row in connection.fetch(statements.SELECT_ALL)]
