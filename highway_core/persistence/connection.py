"""The one connection through which a manager of LOCAL runs talks to its database."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol

from highway_core.persistence.statements.local import LocalStatements, Statement

Batch = Sequence[tuple[Statement, Sequence[Sequence[Any]]]]
"""Statements with the rows that each of them takes; at least one of each."""


class StoreConnection(Protocol):
    """Implementations are thread-safe and raise StorageError, never a driver's error."""

    statements: LocalStatements

    def stamp(self, moment: datetime | None) -> Any:
        """``moment`` as this database takes it; StorageError if it has no time zone."""
        ...

    def moment(self, stored: Any) -> datetime:
        """A stored moment, aware and in UTC."""
        ...

    def write(self, doing: str, batch: Batch) -> int:
        """Carry out all of ``batch`` in one transaction; how many rows its last statement touched.

        ``doing`` completes the sentence "the database could not …".
        """
        ...

    def read(self, doing: str, *queries: tuple[Statement, Sequence[Any]]) -> list[list[tuple[Any, ...]]]:
        """The rows of each query, all as of one moment."""
        ...

    def close(self) -> None:
        """Idempotent; whatever is called afterwards raises StorageError."""
        ...
