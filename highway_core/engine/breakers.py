"""Where the circuit breakers of tasks come from: this process's memory, or whatever the mode hands in.

There is one breaker for each task of a workflow; the iterations of a loop, and all runs, share it.
"""

from __future__ import annotations

import threading
from typing import Protocol

from highway_core.engine.policies import CircuitBreakerPolicy
from highway_core.tools.circuit_breaker import CircuitBreaker
from highway_core.tools.context import ToolContext


class Breaker(Protocol):
    """What one call asks: every call that it allows ends in exactly one of the three others."""

    def is_request_allowed(self) -> bool: ...

    def record_success(self) -> None: ...

    def record_failure(self) -> None: ...

    def record_nothing(self) -> None:
        """The call ended without telling anything about the other side."""
        ...


class Breakers(Protocol):
    """The breakers of all tasks. Thread-safe."""

    def of(self, task_id: str, policy: CircuitBreakerPolicy, call: ToolContext, fence: int) -> Breaker:
        """The breaker of a task, for one call that an attempt is about to make."""
        ...


class ProcessBreakers:
    """Breakers in memory: they forget with the process."""

    def __init__(self) -> None:
        self._breakers: dict[tuple[str, str], CircuitBreaker] = {}
        self._lock = threading.Lock()

    def of(self, task_id: str, policy: CircuitBreakerPolicy, call: ToolContext, fence: int) -> Breaker:  # noqa: ARG002
        key = (call.workflow_name, task_id)
        with self._lock:
            if key not in self._breakers:
                isolation = policy.isolation_duration.total_seconds()
                self._breakers[key] = CircuitBreaker(
                    policy.failure_threshold, policy.success_threshold, isolation, name=task_id
                )
            return self._breakers[key]


def record(breaker: Breaker, policy: CircuitBreakerPolicy, error: Exception) -> None:
    """Let the breaker know that its call raised ``error``, if that is one of those that its policy counts."""
    cause = error.__cause__ or error
    names = {one.__name__ for one in (*type(error).__mro__, *type(cause).__mro__)}
    ignored = policy.ignore_exceptions is not None and names & set(policy.ignore_exceptions)
    counted = policy.catch_exceptions is None or names & set(policy.catch_exceptions)
    if counted and not ignored:
        breaker.record_failure()
    else:
        breaker.record_nothing()
