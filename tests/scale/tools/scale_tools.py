"""The tools of runs that are many or large."""

from __future__ import annotations

from typing import Any

from highway_core.tools.context import ToolContext
from highway_core.tools.decorators import tool


@tool("scale.quick")
def quick(value: Any = None) -> Any:
    """Takes no time."""
    return value


@tool("scale.hold", stoppable=True)
def hold(context: ToolContext, seconds: float) -> None:
    """Keeps its thread busy for so long."""
    context.stop.wait(seconds)
    context.stop.check()


@tool("scale.big")
def big(size: int) -> str:
    """Leaves a large result."""
    return "x" * size


@tool("scale.length")
def length(value: str) -> int:
    """Needs a large result."""
    return len(value)
