"""What bounds a bulkhead, and the errors with which it refuses a call. Cheap to import: every tool module does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from highway_core.errors import ConfigError, TaskError


class BulkheadError(TaskError):
    """A call that a bulkhead refused or gave up, or (through a future) the call's own error as ``__cause__``."""


class BulkheadIsolationError(BulkheadError):
    """The bulkhead is shut down and takes no more calls."""


class BulkheadTimeoutError(BulkheadError):
    """The call ran longer than ``timeout_seconds``, or waited longer than ``wait_timeout_seconds`` for a slot."""


class BulkheadFullError(BulkheadError):
    """All slots and all places in the queue are taken."""


class BulkheadCircuitOpenError(BulkheadError):
    """The bulkhead's circuit breaker is isolating what lies behind it."""


@dataclass(frozen=True, slots=True)
class BulkheadConfig:
    """The bounds of one bulkhead. Times are in seconds; None is no limit.

    ``timeout_seconds`` counts from the start of the call, ``wait_timeout_seconds`` the time in the queue before it.
    The circuit breaker is off unless asked for: one failing address must not stop every caller of a shared tool.
    ``health_check_interval`` is accepted for documents of the existing library; nothing here polls.
    """

    name: str
    max_concurrent_calls: int = 10
    max_queue_size: int = 100
    timeout_seconds: float | None = None
    failure_threshold: int = 5
    success_threshold: int = 3
    isolation_duration: float = 30.0
    circuit_breaker_enabled: bool = False
    health_check_interval: float = 5.0
    wait_timeout_seconds: float | None = None

    def __post_init__(self) -> None:
        for name in ("max_concurrent_calls", "failure_threshold", "success_threshold"):
            self._check(name, isinstance(getattr(self, name), int) and getattr(self, name) >= 1, "at least 1")
        self._check("max_queue_size", isinstance(self.max_queue_size, int) and self.max_queue_size >= 0, "at least 0")
        self._check("isolation_duration", _is_number(self.isolation_duration), "a number of seconds")
        self._check("circuit_breaker_enabled", isinstance(self.circuit_breaker_enabled, bool), "true or false")
        for name in ("timeout_seconds", "wait_timeout_seconds"):
            value = getattr(self, name)
            self._check(name, value is None or (_is_number(value) and value > 0), "above zero, or null")

    def _check(self, name: str, holds: bool, takes: str) -> None:
        if not holds:
            raise ValueError(f"Bulkhead '{self.name}': {name} must be {takes}, not {getattr(self, name)!r}.")

    @classmethod
    def from_settings(cls, name: str, values: Mapping[str, Any]) -> BulkheadConfig:
        """One entry of ``HIGHWAY_BULKHEADS``; ConfigError names the field that cannot be used."""
        if not isinstance(values, Mapping):
            raise ConfigError(f"HIGHWAY_BULKHEADS['{name}'] must be a JSON object of bulkhead fields, not {values!r}.")
        known = [field.name for field in fields(cls) if field.name != "name"]
        for key in values:
            if key not in known:
                raise ConfigError(f"HIGHWAY_BULKHEADS['{name}'] has no field '{key}'; it takes {', '.join(known)}.")
        try:
            return cls(name=name, **values)
        except ValueError as error:
            raise ConfigError(f"HIGHWAY_BULKHEADS: {error}") from error


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and value >= 0


@dataclass(frozen=True, slots=True)
class ExecutionResult:
    """One call through a bulkhead. Times in seconds; ``error`` is the exception that the call itself raised."""

    success: bool
    result: Any
    error: BaseException | None
    execution_time: float
    bulkhead_name: str
    queued_time: float = 0.0
    execution_id: str = ""
