"""Bulkheads: each lets a bounded number of calls in at a time, so that one slow service cannot take every thread.

This module holds the collection and the public names; one bulkhead is ``bulkhead_calls``, the way into it
``bulkhead_gate``, its bounds and errors ``bulkhead_config``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from functools import wraps
from types import TracebackType
from typing import Any

from highway_core.config import Settings
from highway_core.tools.bulkhead_calls import Bulkhead, HeldSlot
from highway_core.tools.bulkhead_config import (
    BulkheadCircuitOpenError,
    BulkheadConfig,
    BulkheadError,
    BulkheadFullError,
    BulkheadIsolationError,
    BulkheadTimeoutError,
    ExecutionResult,
)
from highway_core.tools.circuit_breaker import BulkheadState, CircuitBreaker
from highway_core.tools.decorators import ToolInfo

__all__ = [
    "Bulkhead",
    "BulkheadCircuitOpenError",
    "BulkheadConfig",
    "BulkheadError",
    "BulkheadFullError",
    "BulkheadIsolationError",
    "BulkheadManager",
    "BulkheadState",
    "BulkheadTimeoutError",
    "CircuitBreaker",
    "ExecutionResult",
    "HeldSlot",
    "get_default_manager",
    "set_default_manager",
    "shutdown_default_manager",
    "with_bulkhead",
    "with_bulkhead_async",
]


class BulkheadManager:
    """The bulkheads of one engine, by name. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bulkheads: dict[str, Bulkhead] = {}
        self._shut_down = False

    def create_bulkhead(self, config: BulkheadConfig) -> Bulkhead:
        """A new bulkhead; ValueError if the name is taken, RuntimeError after the shutdown."""
        with self._lock:
            if config.name in self._bulkheads:
                raise ValueError(f"Bulkhead '{config.name}' already exists.")
            return self._create(config)

    def get_bulkhead(self, name: str) -> Bulkhead | None:
        return self._bulkheads.get(name)

    def get_or_create_bulkhead(self, config: BulkheadConfig) -> Bulkhead:
        """The bulkhead of that name, with the bounds it was created with."""
        with self._lock:
            return self._bulkheads.get(config.name) or self._create(config)

    def for_tool(self, info: ToolInfo, settings: Settings) -> Bulkhead | None:
        """The bulkhead that bounds a tool, or None.

        The most particular rule wins: an entry of ``HIGHWAY_BULKHEADS`` with the tool's own name, what the tool's
        author gave its decorator, the entry with the longest ``prefix.*``. Tools of one prefix share one bulkhead,
        and so do tools whose decorators name the same one.
        """
        config = info.bulkhead
        if settings.bulkheads:
            own = settings.bulkheads.get(info.name)
            if own is not None:
                config = BulkheadConfig.from_settings(info.name, own)
            elif config is None:
                config = _group_config(info.name, settings)
        return None if config is None else self.get_or_create_bulkhead(config)

    def execute_in_bulkhead(
        self, name: str, func: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> Future[ExecutionResult]:
        """``execute`` of the bulkhead called ``name``; ValueError if there is none."""
        return self._named(name).execute(func, *args, **kwargs)

    def get_all_stats(self) -> dict[str, dict[str, Any]]:
        return {name: bulkhead.get_stats() for name, bulkhead in self._all().items()}

    def get_health_status(self) -> dict[str, bool]:
        return {name: bulkhead.is_healthy() for name, bulkhead in self._all().items()}

    def shutdown_all(self, timeout: float = 5.0) -> None:
        """Shut every bulkhead down, within ``timeout`` seconds for all of them together. May be called again."""
        with self._lock:
            self._shut_down = True
        ends = time.monotonic() + timeout
        for bulkhead in self._all().values():
            bulkhead.shutdown(max(0.0, ends - time.monotonic()))

    def __enter__(self) -> BulkheadManager:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown_all()

    def _create(self, config: BulkheadConfig) -> Bulkhead:
        if self._shut_down:
            raise RuntimeError(f"The bulkheads are shut down; '{config.name}' cannot be created any more.")
        bulkhead = self._bulkheads[config.name] = Bulkhead(config)
        return bulkhead

    def _named(self, name: str) -> Bulkhead:
        bulkhead = self._bulkheads.get(name)
        if bulkhead is None:
            known = ", ".join(self._bulkheads) or "none"
            raise ValueError(f"Bulkhead '{name}' does not exist; there are: {known}.")
        return bulkhead

    def _all(self) -> dict[str, Bulkhead]:
        with self._lock:
            return dict(self._bulkheads)


def _group_config(tool_name: str, settings: Settings) -> BulkheadConfig | None:
    groups = [key for key in settings.bulkheads if key.endswith(".*") and tool_name.startswith(key[:-1])]
    if not groups:
        return None
    group = max(groups, key=len)
    return BulkheadConfig.from_settings(group, settings.bulkheads[group])


_default_lock = threading.Lock()
_default: list[BulkheadManager] = []


def get_default_manager() -> BulkheadManager:
    """The manager of those who have none of their own; the engine has its own."""
    with _default_lock:
        if not _default:
            _default.append(BulkheadManager())
        return _default[0]


def set_default_manager(manager: BulkheadManager) -> None:
    with _default_lock:
        _default[:] = [manager]


def shutdown_default_manager() -> None:
    """Shut it down; the next :func:`get_default_manager` makes a new one."""
    with _default_lock:
        managers = _default[:]
        _default.clear()
    for manager in managers:
        manager.shutdown_all()


def with_bulkhead(
    name: str, manager: BulkheadManager | None = None
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorate a function so that its calls hold a slot of the bulkhead called ``name`` (made at need)."""

    def decorate(func: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(func)
        def inside(*args: Any, **kwargs: Any) -> Any:
            bulkhead = (manager or get_default_manager()).get_or_create_bulkhead(BulkheadConfig(name))
            with bulkhead.context():
                return func(*args, **kwargs)

        return inside

    return decorate


def with_bulkhead_async(
    name: str, manager: BulkheadManager | None = None
) -> Callable[[Callable[..., Awaitable[Any]]], Callable[..., Awaitable[Any]]]:
    """:func:`with_bulkhead` for coroutine functions."""

    def decorate(func: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        @wraps(func)
        async def inside(*args: Any, **kwargs: Any) -> Any:
            bulkhead = (manager or get_default_manager()).get_or_create_bulkhead(BulkheadConfig(name))
            return await bulkhead.execute_async(func, *args, **kwargs)

        return inside

    return decorate
