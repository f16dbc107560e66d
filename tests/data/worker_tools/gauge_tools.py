"""Tools that are measured while they are carried out."""

from __future__ import annotations

from highway_core.tools.context import ToolContext
from highway_core.tools.decorators import tool
from tests.gauge import GAUGE


@tool("test.held")
def held(context: ToolContext, name: str, seconds: float) -> str:
    """Hold a thread for a while; how many do at once, :data:`GAUGE` knows."""
    with GAUGE.under_way(name):
        context.stop.wait(seconds)
    return name


@tool("test.broken")
def broken(name: str) -> None:
    """Fail, and be counted."""
    with GAUGE.under_way(name):
        raise RuntimeError("broken")
