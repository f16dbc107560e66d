"""``switch``: the arm of the case that the value equals, as text."""

from __future__ import annotations

from highway_core.engine.arms import DEFAULT_ARM, case_label
from highway_core.engine.context import TaskContext
from highway_core.engine.decisions import Branch, Decision
from highway_core.engine.expressions import parse_switch
from highway_core.engine.models import SwitchOperatorModel


def decide(task: SwitchOperatorModel, ctx: TaskContext) -> Decision:
    """No match takes the default; without one all arms are skipped. The result is the value."""
    switch = parse_switch(task.switch_on)
    case = switch.choose(ctx.view, task.cases)
    taken = DEFAULT_ARM if case is None else case_label(case)
    return Branch(frozenset({taken}), result=switch.value(ctx.view))
