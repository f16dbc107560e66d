"""``condition``: one of two arms."""

from __future__ import annotations

from highway_core.engine.context import TaskContext
from highway_core.engine.decisions import Branch, Decision
from highway_core.engine.expressions import eval_condition, parse_condition
from highway_core.engine.models import ConditionOperatorModel

__all__ = ["decide", "eval_condition"]


def decide(task: ConditionOperatorModel, ctx: TaskContext) -> Decision:
    """Evaluate; the head of the arm that is not taken is skipped."""
    holds = parse_condition(task.condition).is_true(ctx.view)
    return Branch(frozenset({"true" if holds else "false"}), result=holds)
