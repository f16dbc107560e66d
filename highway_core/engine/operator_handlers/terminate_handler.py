"""``terminate``: the run ends here."""

from __future__ import annotations

from highway_core.engine.context import TaskContext
from highway_core.engine.decisions import Decision, Terminate
from highway_core.engine.models import TerminateOperatorModel


def decide(task: TerminateOperatorModel, ctx: TaskContext) -> Decision:
    """End the run with the status, result and reason of the document."""
    return Terminate(task.status, ctx.resolve("result"), str(ctx.resolve("reason")))
