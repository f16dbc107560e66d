"""Circuit breakers that all workers share: one row each, moved by guarded updates, timed by the database's clock."""

from __future__ import annotations

from typing import NamedTuple

from highway_core.persistence.durable_connection import ConnectionPool
from highway_core.persistence.statements import breakers as sql


class BreakerCall(NamedTuple):
    """A call, by the breaker that it goes through and the lease of the attempt that makes it."""

    workflow_name: str
    task_id: str
    run_id: str
    path: str
    fence: int


class Thresholds(NamedTuple):
    """Failures in a row that isolate, for so many seconds, and successful trials in a row after which all is well."""

    failures: int
    successes: int
    seconds: float


class Admission(NamedTuple):
    """A call was let through: after how many isolations, and whether as the one trial call."""

    isolations: int
    on_trial: bool


class BreakerStore:
    """Each method is one round trip; StorageError if it cannot be made. Thread-safe."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool

    def admit(self, call: BreakerCall) -> Admission | None:
        """Let a call through; None: the breaker is open."""
        with self._pool.connection() as connection:
            answer = connection.value(sql.ADMIT, call)
        return None if answer is None else Admission(answer[0], bool(answer[1]))

    def record(self, call: BreakerCall, admission: Admission, good: bool | None, thresholds: Thresholds) -> None:
        """What came of a call; None: nothing about the other side. An answer to an older phase is not heard."""
        with self._pool.connection() as connection:
            connection.run(sql.RECORD, (*call, *admission, good, _limit(admission, thresholds), thresholds.seconds))


def _limit(admission: Admission, thresholds: Thresholds) -> int:
    return thresholds.successes if admission.on_trial else thresholds.failures
