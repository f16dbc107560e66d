"""``multi_choice``: every branch whose condition holds runs."""

from __future__ import annotations

from highway_core.engine.context import TaskContext
from highway_core.engine.decisions import Branch, Decision, Finish
from highway_core.engine.expressions import parse_condition
from highway_core.engine.models import MultiChoiceOperatorModel
from highway_core.engine.operator_handlers.parallel_handler import gathered
from highway_core.errors import TaskError


def decide(task: MultiChoiceOperatorModel, ctx: TaskContext) -> Decision:
    """Open the branches that apply; fewer than ``minimum_branches`` fail the task and open none."""
    if ctx.children is not None:
        return Finish(gathered(ctx.children))
    conditions = {label: parse_condition(branch.condition) for label, branch in task.branches.items()}
    taken = frozenset(label for label, condition in conditions.items() if condition.is_true(ctx.view))
    if len(taken) < task.minimum_branches:
        seen = "; ".join(
            f"{label}: {condition.text} ({condition.explain(ctx.view) or 'constant'})"
            for label, condition in conditions.items()
            if label not in taken
        )
        raise TaskError(f"{len(taken)} of at least {task.minimum_branches} branches apply. These do not: {seen}")
    return Branch(taken, gather=True, timeout=task.timeout)
