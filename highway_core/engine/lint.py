"""Warnings on a compiled graph: tasks that can never run, and waiting for tasks that can only be skipped.

Only what the document itself fixes is looked at: a condition without references, a switch on a constant. Such a
document may start (its author may be trying an arm), but nobody should be surprised by it.
"""

from __future__ import annotations

from collections import deque

from highway_core.engine.arms import DEFAULT_ARM, arm_targets, case_label
from highway_core.engine.expressions import NoData, eval_condition, parse_condition, parse_switch
from highway_core.engine.flatten import ScopeSource
from highway_core.engine.graph import Edge, Node, WorkflowGraph
from highway_core.engine.models import ConditionOperatorModel, MultiChoiceOperatorModel, SwitchOperatorModel
from highway_core.engine.readiness import Via
from highway_core.engine.report import Report


def warn_about_dead_tasks(graph: WorkflowGraph, source: ScopeSource, report: Report) -> None:
    """Warn about this scope and all bodies in it."""
    taken = {node.index: arms for node in graph.nodes if (arms := _constant_arms(node)) is not None}
    dead = _never_run(graph, taken) if taken else {}
    for index, culprit in dead.items():
        report.warn(source.places[graph.nodes[index].task_id], f"it can never run: '{culprit}' never takes its arm")
    for index in dead:
        name = graph.nodes[index].task_id
        for edge in graph.nodes[index].edges:
            if edge.target not in dead and edge.via is Via.MAIN:
                waiting = graph.nodes[edge.target].task_id
                report.warn(source.places[waiting], f"it waits for '{name}', which can only be skipped")
    for node in graph.nodes:
        if node.body is not None:
            warn_about_dead_tasks(node.body, source.bodies[node.task_id], report)


def _constant_arms(node: Node) -> frozenset[str] | None:
    """The arms that are always taken; None if that depends on the run."""
    match node.task:
        case ConditionOperatorModel(condition=text):
            condition = parse_condition(text)
            return None if condition.references else frozenset({"true" if eval_condition(text) else "false"})
        case SwitchOperatorModel(switch_on=text, cases=cases):
            switch = parse_switch(text)
            if switch.references:
                return None
            case = switch.choose(NoData(), cases)
            return frozenset({DEFAULT_ARM if case is None else case_label(case)}) & set(arm_targets(node.task))
        case MultiChoiceOperatorModel(branches=branches):
            fixed = {label for label, branch in branches.items() if not parse_condition(branch.condition).references}
            return frozenset(
                label for label, branch in branches.items() if label not in fixed or eval_condition(branch.condition)
            )
        case _:
            return None


def _never_run(graph: WorkflowGraph, taken: dict[int, frozenset[str]]) -> dict[int, str]:
    """Index of a task that cannot run → the operator whose fault it is."""
    dead: dict[int, str] = {}
    open_heads = [node.heads for node in graph.nodes]
    live = [node.main for node in graph.nodes]
    waiting = deque(taken)
    while waiting:
        source = graph.nodes[waiting.popleft()]
        for edge in (*source.edges, *source.opened):
            target = edge.target
            if target in dead or not _closed(source, edge, dead, taken):
                continue
            if edge.via is Via.HEAD:
                open_heads[target] -= 1
            elif edge.via is Via.MAIN:
                live[target] -= 1
            if _is_dead(graph.nodes[target], edge, open_heads[target], live[target]):
                dead[target] = dead.get(source.index, source.task_id)
                waiting.append(target)
    return dead


def _closed(source: Node, edge: Edge, dead: dict[int, str], taken: dict[int, frozenset[str]]) -> bool:
    if source.index in dead:
        return edge.on is None
    return edge.labels is not None and source.index in taken and not edge.labels & taken[source.index]


def _is_dead(node: Node, edge: Edge, open_heads: int, live: int) -> bool:
    if edge.via is Via.MEMBER:
        return True
    if edge.via is Via.HEAD:
        return open_heads == 0
    return edge.via is Via.MAIN and live == 0 and node.rule not in {"all_done", "none_failed"}
