"""``while``: one scope after the other, as long as the condition holds."""

from __future__ import annotations

from highway_core.engine.context import TaskContext
from highway_core.engine.decisions import Decision, Finish, Iteration, Spawn
from highway_core.engine.expressions import parse_condition
from highway_core.engine.models import WhileOperatorModel
from highway_core.errors import TaskError
from highway_core.lifecycle import TaskStatus


def decide(task: WhileOperatorModel, ctx: TaskContext) -> Decision:
    """Look at the condition before each iteration. The result is ``{"iterations": n}``."""
    done = 0 if ctx.progress is None else int(ctx.progress["iteration"])
    if ctx.children is None and ctx.progress is not None:
        return _spawn(done - 1)  # recovered: that iteration was open
    if ctx.children is not None:
        (last,) = ctx.children
        if last.status is not TaskStatus.COMPLETED:
            raise TaskError(f"iteration {last.key} failed: {last.error}")
    if not (done == 0 and task.test_after) and not parse_condition(task.condition).is_true(ctx.view):
        return Finish({"iterations": done})
    if done >= task.max_iterations:
        raise TaskError(
            f"the condition still holds after {done} iterations, the limit (metadata.max_iterations): {task.condition}"
        )
    return _spawn(done)


def _spawn(index: int) -> Spawn:
    return Spawn([Iteration(index, shared=True)], {"iteration": index + 1})
