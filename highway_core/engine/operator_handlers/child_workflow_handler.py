"""``child_workflow``: runs of other workflows, linked to this task."""

from __future__ import annotations

from highway_core.engine.context import TaskContext
from highway_core.engine.decisions import ChildRun, Decision, Finish, Spawn
from highway_core.engine.models import ChildWorkflowOperatorModel
from highway_core.errors import TaskError
from highway_core.lifecycle import TaskStatus


def decide(task: ChildWorkflowOperatorModel, ctx: TaskContext) -> Decision:  # noqa: ARG001 - one signature for all
    """Start all children; then ``{branch: {status, result, workflow_id}}``."""
    if ctx.children is None:
        return Spawn([_child(branch, spec) for branch, spec in ctx.resolve("children").items()])
    failed = [child for child in ctx.children if child.status is not TaskStatus.COMPLETED]
    if failed:
        raise TaskError("; ".join(f"child run '{one.run_id}' ({one.key}) {one.status}: {one.error}" for one in failed))
    return Finish(
        {
            str(child.key): {"status": str(child.status), "result": child.value, "workflow_id": child.run_id}
            for child in ctx.children
        }
    )


def _child(branch: str, spec: object) -> ChildRun:
    if not isinstance(spec, dict) or not isinstance(spec.get("workflow_name"), str):
        raise TaskError(f"child '{branch}' needs a workflow_name")
    inputs = spec.get("inputs") or {}
    if not isinstance(inputs, dict):
        raise TaskError(f"the inputs of child '{branch}' must be a mapping, not {type(inputs).__name__}")
    return ChildRun(branch, spec["workflow_name"], inputs)
