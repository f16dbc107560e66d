"""A circuit breaker: it stops calling what keeps failing, waits, and then tries again with one call at a time.

::

    HEALTHY ──failure──► DEGRADED ──failure_threshold failures in a row──► ISOLATED
       ▲                    │  ▲                                              │ isolation_duration seconds
       └─success_threshold──┘  └───────────── one trial call at a time ◄──────┘
         successes in a row                  (a failed trial isolates again)

Every call that :meth:`CircuitBreaker.is_request_allowed` lets through ends in exactly one of ``record_success``,
``record_failure`` and ``record_nothing``. Thread-safe; the clock is handed in.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from enum import StrEnum, auto
from typing import Any


class BulkheadState(StrEnum):
    """How a breaker, or the bulkhead around it, stands."""

    HEALTHY = auto()
    DEGRADED = auto()
    """It failed lately, or is on trial after an isolation; calls go through."""
    ISOLATED = auto()
    """It failed too often; calls are refused until the isolation is over."""
    FAILED = auto()
    """Shut down; takes no call any more. Of a bulkhead only."""


class CircuitBreaker:
    """Counts the outcomes of calls to one thing. ``isolation_duration`` is in seconds."""

    def __init__(
        self,
        failure_threshold: int = 5,
        success_threshold: int = 3,
        isolation_duration: float = 30.0,
        name: str = "",
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        if failure_threshold < 1 or success_threshold < 1 or isolation_duration < 0:
            raise ValueError(
                f"Circuit breaker '{name}' needs thresholds of at least 1 and an isolation_duration of at least 0, "
                f"not {failure_threshold}, {success_threshold} and {isolation_duration}."
            )
        self.name = name
        self._failure_threshold = failure_threshold
        self._success_threshold = success_threshold
        self._isolation_duration = isolation_duration
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._state = BulkheadState.HEALTHY
        self._failures = 0
        self._successes = 0
        self._isolations = 0
        self._isolated_until = 0.0
        self._on_trial = False
        self._trial_expires: float | None = None

    def is_request_allowed(self) -> bool:
        """True if a call may start now; after an isolation that makes the caller's the one trial call."""
        with self._lock:
            state = self._current_state()
            if state is BulkheadState.ISOLATED:
                return False
            if not self._on_trial:
                return True
            now = self._monotonic()
            if self._trial_expires is not None and now < self._trial_expires:
                return False
            # A trial whose end was never recorded must not hold the breaker for ever.
            self._trial_expires = now + self._isolation_duration
            return True

    def record_success(self) -> None:
        with self._lock:
            if self._current_state() is BulkheadState.ISOLATED:
                return  # the late answer of a call from before the isolation
            self._trial_expires = None
            self._failures = 0
            self._successes += 1
            if self._successes >= self._success_threshold:
                self._state = BulkheadState.HEALTHY
                self._on_trial = False

    def record_failure(self) -> None:
        with self._lock:
            if self._current_state() is BulkheadState.ISOLATED:
                return
            self._successes = 0
            self._failures += 1
            if self._on_trial or self._failures >= self._failure_threshold:
                self._isolate()
            else:
                self._state = BulkheadState.DEGRADED

    def record_nothing(self) -> None:
        """The allowed call ended without telling anything about the other side: cancelled, or never started."""
        with self._lock:
            self._trial_expires = None

    def get_state(self) -> BulkheadState:
        with self._lock:
            return self._current_state()

    def seconds_until_trial(self) -> float:
        """How long calls are still refused; 0 when they are not."""
        with self._lock:
            if self._current_state() is not BulkheadState.ISOLATED:
                return 0.0
            return self._isolated_until - self._monotonic()

    def get_stats(self) -> dict[str, Any]:
        with self._lock:
            return {
                "circuit_state": self._current_state().value,
                "consecutive_failures": self._failures,
                "consecutive_successes": self._successes,
                "isolations": self._isolations,
            }

    def _isolate(self) -> None:
        self._state = BulkheadState.ISOLATED
        self._isolated_until = self._monotonic() + self._isolation_duration
        self._isolations += 1
        self._on_trial = False
        self._trial_expires = None

    def _current_state(self) -> BulkheadState:
        """The state now; the first look after an isolation starts the trial. Called with the lock held."""
        if self._state is BulkheadState.ISOLATED and self._monotonic() >= self._isolated_until:
            self._state = BulkheadState.DEGRADED
            self._on_trial = True
            self._failures = 0
            self._successes = 0
        return self._state
