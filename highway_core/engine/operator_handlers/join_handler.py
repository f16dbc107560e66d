"""``join``: readiness has weighed its branches already; by the time it is asked, it is over."""

from __future__ import annotations

from highway_core.engine.context import TaskContext
from highway_core.engine.decisions import Decision, Finish
from highway_core.engine.models import JoinOperatorModel


def decide(task: JoinOperatorModel, ctx: TaskContext) -> Decision:  # noqa: ARG001 - one signature for all handlers
    return Finish()
