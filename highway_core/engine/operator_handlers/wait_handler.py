"""``wait``: until a moment, or for a duration."""

from __future__ import annotations

from highway_core.engine.context import TaskContext
from highway_core.engine.decisions import Decision, SleepUntil
from highway_core.engine.models import WaitOperatorModel
from highway_core.errors import ExpressionError
from highway_core.utils.durations import due, parse_wait


def decide(task: WaitOperatorModel, ctx: TaskContext) -> Decision:  # noqa: ARG001 - one signature for all handlers
    """The moment is fixed here, once; the mode keeps it over a restart."""
    try:
        spec = parse_wait(ctx.resolve("wait_for"))
    except ValueError as error:
        raise ExpressionError(f"wait_for: {error}") from error
    return SleepUntil(due(spec, ctx.now))
