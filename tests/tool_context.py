"""An attempt for tests of single tools: a context as an executor would hand it in, and a way to be inside of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from highway_core.config import Settings
from highway_core.tools.context import Sandbox, ToolContext, enter_context
from highway_core.utils.stopping import StopScope


@dataclass
class State:
    """The least that a tool may see of a run."""

    memory: dict[str, Any] = field(default_factory=dict)
    variables: dict[str, Any] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)


def settings_with(**changes: Any) -> Settings:
    """Settings of no environment but the PATH, with ``changes``."""
    environ = {"PATH": os.environ["PATH"]} | changes.pop("environ", {})
    return Settings(environ=MappingProxyType(environ), **changes)


def context_with(
    settings: Settings | None = None,
    *,
    stop: StopScope | None = None,
    state: State | None = None,
    sandbox: Sandbox | None = None,
) -> ToolContext:
    return ToolContext(
        run_id="run-1",
        workflow_name="testing",
        task_id="loop[2].task",
        attempt=3,
        settings=settings or settings_with(),
        stop=stop or StopScope(),
        state=state or State(),
        sandbox=sandbox,
        idempotency_key="key-1",
    )


@contextmanager
def inside(context: ToolContext) -> Iterator[ToolContext]:
    """Run the block as if a tool of ``context`` did."""
    enter_context(context)
    try:
        yield context
    finally:
        enter_context(None)
