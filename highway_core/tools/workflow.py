"""``tools.workflow.*``: run another workflow, and read what the branches of a parallel operator gave."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from highway_core.errors import TaskError
from highway_core.tools.context import ReadBranches, StartWorkflow
from highway_core.tools.decorators import tool


@tool("tools.workflow.execute")
def execute(
    workflow_name: str | None = None,
    definition_id: str | None = None,
    inputs: Mapping[str, Any] | None = None,
) -> StartWorkflow:
    """Run a workflow as a child of this task and return its result. ``definition_id`` is a content hash."""
    if not workflow_name and not definition_id:
        raise TaskError("tools.workflow.execute needs a workflow_name or a definition_id.")
    if inputs is not None and not isinstance(inputs, Mapping):
        raise TaskError(f"tools.workflow.execute takes a mapping as inputs, not {type(inputs).__name__}.")
    return StartWorkflow(workflow_name or None, dict(inputs or {}), definition_id or None)


@tool("tools.workflow.wait_for_parallel_branches")
def wait_for_parallel_branches(value: Any, timeout_seconds: float | None = None) -> ReadBranches:
    """``{branch: {status, results}}`` of the parallel operator whose result is ``value``."""
    if timeout_seconds is None:
        return ReadBranches(value)
    if isinstance(timeout_seconds, bool) or not isinstance(timeout_seconds, int | float) or timeout_seconds <= 0:
        raise TaskError(f"timeout_seconds must be a number above zero, not {timeout_seconds!r}.")
    return ReadBranches(value, timedelta(seconds=timeout_seconds))
