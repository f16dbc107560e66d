"""``task`` and ``activity``: call a tool, or run a container."""

from __future__ import annotations

from highway_core.engine.context import TaskContext
from highway_core.engine.decisions import AwaitEvent, ChildRun, Decision, Finish, Spawn
from highway_core.engine.executors.base import Work
from highway_core.engine.models import CallOperatorModel
from highway_core.errors import TaskError
from highway_core.lifecycle import TaskStatus
from highway_core.tools.context import AwaitApproval, ReadBranches, StartWorkflow

APPROVAL = "approval"
"""The event that an approval waits for is this and the task's path; its token is the store's business."""


def decide(task: CallOperatorModel, ctx: TaskContext) -> Decision:
    """Carry the work out; what a tool asks of the engine becomes a decision."""
    if ctx.children is not None:
        return _finished_child(ctx)
    result = ctx.execute(work_of(task, ctx))
    match result:
        case AwaitApproval():
            policy = task.attempt_timeout
            deadline = None if policy is None else ctx.now + policy.timeout
            approval = {"prompt": result.prompt, "assignee": result.assignee, "choices": list(result.choices)}
            return AwaitEvent(f"{APPROVAL}:{ctx.path}", deadline, approval)
        case StartWorkflow():
            name = result.workflow_name or ""
            return Spawn([ChildRun(name, name, result.inputs, result.definition_id)])
        case ReadBranches():
            return Finish(result.value)
        case _:
            return Finish(result)


def work_of(task: CallOperatorModel, ctx: TaskContext) -> Work:
    """The task with its references filled in."""
    policy = task.attempt_timeout
    return Work(
        function=task.function,
        args=ctx.resolve("args"),
        kwargs=ctx.resolve("kwargs"),
        image=ctx.resolve("image"),
        command=ctx.resolve("command"),
        runtime=task.runtime,
        timeout=policy.timeout.total_seconds() if policy else None,
        kill_on_timeout=policy.kill_on_timeout if policy else False,
        options=ctx.resolve("docker"),
    )


def _finished_child(ctx: TaskContext) -> Decision:
    (child,) = ctx.children or ()
    if child.status is not TaskStatus.COMPLETED:
        raise TaskError(f"child run '{child.run_id}' of workflow '{child.key}' {child.status}: {child.error}")
    return Finish(child.value)
