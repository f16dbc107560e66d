"""The circuit breakers of DURABLE mode: rows in the database, the same for every worker."""

from __future__ import annotations

import logging
from typing import Protocol

from highway_core.engine.breakers import Breaker
from highway_core.engine.policies import CircuitBreakerPolicy
from highway_core.errors import ConnectionLostError, StorageError
from highway_core.persistence.breaker_store import Admission, BreakerCall, Thresholds
from highway_core.tools.context import ToolContext

logger = logging.getLogger("HighwayWorker")

_PAUSE = 0.5


class Store(Protocol):
    def admit(self, call: BreakerCall) -> Admission | None: ...

    def record(self, call: BreakerCall, admission: Admission, good: bool | None, thresholds: Thresholds) -> None: ...


class SharedBreakers:
    """Called from the threads that carry attempts out."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def of(self, task_id: str, policy: CircuitBreakerPolicy, call: ToolContext, fence: int) -> Breaker:
        seconds = policy.isolation_duration.total_seconds()
        thresholds = Thresholds(policy.failure_threshold, policy.success_threshold, seconds)
        key = BreakerCall(call.workflow_name, task_id, call.run_id, call.task_id, fence)
        return _SharedBreaker(self._store, key, thresholds, call)


class _SharedBreaker:
    """One call. A database that is away holds it up and fails nothing: the task itself has nothing to do with it."""

    def __init__(self, store: Store, call: BreakerCall, thresholds: Thresholds, context: ToolContext) -> None:
        self._store = store
        self._call = call
        self._thresholds = thresholds
        self._stop = context.stop
        self._admission: Admission | None = None

    def is_request_allowed(self) -> bool:
        """Waits for the database until the attempt is stopped (TaskStoppedError)."""
        while True:
            try:
                self._admission = self._store.admit(self._call)
            except ConnectionLostError as error:
                logger.debug("the breaker of '%s' cannot be asked: %s", self._call.task_id, error)
            else:
                return self._admission is not None
            if self._stop.wait(_PAUSE):
                self._stop.check()

    def record_success(self) -> None:
        self._record(good=True)

    def record_failure(self) -> None:
        self._record(good=False)

    def record_nothing(self) -> None:
        self._record(good=None)

    def _record(self, *, good: bool | None) -> None:
        """The tool has acted: that its outcome cannot be counted does not fail it. A trial ends with its lease."""
        if self._admission is None:
            return
        try:
            try:
                self._store.record(self._call, self._admission, good, self._thresholds)
            except ConnectionLostError:  # it may have been idle too long
                self._store.record(self._call, self._admission, good, self._thresholds)
        except StorageError as error:
            logger.warning("the breaker of '%s' does not hear how a call ended: %s", self._call.task_id, error)
