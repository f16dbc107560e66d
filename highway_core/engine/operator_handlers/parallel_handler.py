"""``parallel``: all branches run, and the operator ends when the last of them has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from highway_core.engine.context import ChildOutcome, TaskContext
from highway_core.engine.decisions import Branch, Decision, Finish
from highway_core.engine.models import ParallelOperatorModel
from highway_core.errors import TaskError
from highway_core.lifecycle import TASK_FAILED


def decide(task: ParallelOperatorModel, ctx: TaskContext) -> Decision:
    """Open all branches; then the map of how each ended."""
    if ctx.children is None:
        return Branch(frozenset(ctx.node.branches), gather=True, timeout=task.timeout)
    return Finish(gathered(ctx.children))


def gathered(children: Sequence[ChildOutcome]) -> dict[str, Any]:
    """``{branch: {status, results}}``; TaskError if a branch failed, after all of them have ended."""
    failed = [child for child in children if child.status in TASK_FAILED]
    if failed:
        raise TaskError("; ".join(f"branch '{child.key}' failed: {child.error}" for child in failed))
    return {str(child.key): {"status": str(child.status), "results": dict(child.results)} for child in children}
