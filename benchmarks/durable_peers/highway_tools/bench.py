"""The tool that the tasks of the benchmark call: what a step of any other system does."""

from __future__ import annotations

from typing import Any

from serve import step_result

from highway_core.tools.decorators import tool


@tool("bench.step")
def step(number: int) -> dict[str, Any]:
    """A small value, at once."""
    return step_result(number)
