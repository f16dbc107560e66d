"""What a person's decision will lead to, told from the compiled document alone, before it is taken.

The graph is walked once for each possible answer, with the same judge of readiness as a run: every other task is taken
to succeed, conditions over the answer are evaluated, and where a condition asks for something that only the run knows,
all of its arms are walked and what stands in them is *possible* instead of *certain*.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from highway_core.engine.arms import DEFAULT_ARM, arm_targets, case_label
from highway_core.engine.expressions import parse_condition, parse_switch
from highway_core.engine.graph import CompiledWorkflow, Edge, Node, WorkflowGraph
from highway_core.engine.models import (
    BaseOperatorModel,
    CallOperatorModel,
    ChildWorkflowOperatorModel,
    ConditionOperatorModel,
    MultiChoiceOperatorModel,
    SwitchOperatorModel,
    TerminateOperatorModel,
)
from highway_core.engine.readiness import Answer, Arrivals, Verdict, Via, decide_ready
from highway_core.engine.references import Lookup, Reference, walk
from highway_core.errors import ExpressionError

_TIMEOUT: Final = "TIMEOUT"
_HUMAN_INPUT: Final = "HUMAN_INPUT"
_ONLY_AFTERWARDS: Final = frozenset({"decided_by", "decided_at", "comment"})
_STRUCTURE: Final = frozenset({"condition", "switch", "parallel", "multi_choice", "join"})
"""Operators that only lead to others."""
_ITERATION: Final = re.compile(r"\[\d+\]\.")


@dataclass(frozen=True, slots=True)
class NextTask:
    """One task that comes after the decision."""

    task_id: str
    does: str
    """Its tool, or its kind."""
    certain: bool
    """False: it also depends on what only the run knows."""


@dataclass(frozen=True, slots=True)
class Preview:
    """What follows: ``choices`` holds, for each, the tasks that do not follow whatever is decided; ``always`` those."""

    choices: Mapping[str, tuple[NextTask, ...]]
    always: tuple[NextTask, ...]
    timeout: tuple[NextTask, ...] | None
    """If nobody decides in time; None: it is waited for without an end. Without those of ``always``."""


def preview_decisions(workflow: CompiledWorkflow, task_path: str, choices: Sequence[str]) -> Preview | None:
    """What each of ``choices`` leads to for the task at ``task_path``; None if the document has no such task.

    Of a task in a loop only the rest of its iteration is told.
    """
    found = _find(workflow.graph, task_path)
    if found is None:
        return None
    graph, asked = found
    walks = {choice: _Walk(graph, asked, {"status": choice, "reason": _HUMAN_INPUT}).tasks() for choice in choices}
    common = _in_all(list(walks.values()))
    return Preview(
        choices={choice: tuple(one for one in tasks if one not in common) for choice, tasks in walks.items()},
        always=common,
        timeout=_after_timeout(graph, asked, common),
    )


def _find(graph: WorkflowGraph, path: str) -> tuple[WorkflowGraph, Node] | None:
    """The node of an instance's path (``poll[2].ask``) and the graph that it stands in."""
    *loops, task_id = _ITERATION.split(path)
    for loop in loops:
        body = graph.node(loop).body if loop in graph.by_id else None
        if body is None:
            return None
        graph = body
    return (graph, graph.node(task_id)) if task_id in graph.by_id else None


def _in_all(walks: Sequence[Sequence[NextTask]]) -> tuple[NextTask, ...]:
    first, *others = walks
    return tuple(one for one in first if one.certain and all(one in other for other in others))


def _after_timeout(graph: WorkflowGraph, asked: Node, common: Sequence[NextTask]) -> tuple[NextTask, ...] | None:
    policy = asked.task.attempt_timeout
    if policy is None:
        return None
    answer = None if policy.kill_on_timeout else {"status": _TIMEOUT, "reason": _TIMEOUT}
    return tuple(one for one in _Walk(graph, asked, answer).tasks() if one not in common)


class _UnknownError(Exception):
    """Only the run knows."""


class _Answered:
    """A lookup that knows the answer of the approval and nothing else."""

    def __init__(self, asked: Node, answer: Mapping[str, str], is_output: bool) -> None:
        self._names = {asked.task_id, asked.written, asked.task.result_key}
        self._answer = answer
        self._is_output = is_output

    def find(self, reference: Reference) -> Any:
        path = reference.path
        if path == ("output",) and self._is_output:
            return self._answer
        if path[0] == "results":
            path = path[1:]
        if path[:1] and path[0] in self._names:
            rest = path[2:] if path[1:2] in {("output",), ("payload",)} else path[1:]
            if rest and rest[0] not in _ONLY_AFTERWARDS:
                return walk(self._answer, rest, 0)
        raise _UnknownError

    lookup = find

    def context(self) -> Mapping[str, Any]:
        raise _UnknownError


@dataclass(frozen=True, slots=True)
class _Taken:
    """The arms of an operator that are gone through; ``certain`` are those of them that surely are."""

    arms: frozenset[str]
    certain: frozenset[str]


class _Walk:
    """One walk through a graph with one answer; None: the approval fails."""

    def __init__(self, graph: WorkflowGraph, asked: Node, answer: Mapping[str, str] | None) -> None:
        self._graph = graph
        self._asked = asked
        self._answer = answer
        self._arrivals: list[Arrivals] = [node.arrivals() for node in graph.nodes]
        self._left = [node.children for node in graph.nodes]
        self._after = [False] * len(graph.nodes)
        """Comes after the approval."""
        self._heard = [False] * len(graph.nodes)
        """A predecessor that its rule weighs perhaps goes on …"""
        self._certain = [False] * len(graph.nodes)
        """… or surely does."""
        self._doubtful = [False] * len(graph.nodes)
        """It runs only if something goes the way that only the run knows."""
        self._taken: dict[int, _Taken] = {}
        self._decided: set[int] = set()
        self._ended: deque[tuple[Node, Answer]] = deque()
        self._run: list[Node] = []

    def tasks(self) -> tuple[NextTask, ...]:
        """The tasks after the approval that run, in the order in which they can."""
        for index in self._graph.roots:
            self._start(self._graph.nodes[index])
        while self._ended:
            node, answer = self._ended.popleft()
            if node.index not in self._taken:
                self._fire(node, node.opened, answer)
            self._fire(node, node.edges, answer)
            if node.container >= 0:
                self._member_over(node)
        return tuple(
            NextTask(node.task_id, _does(node.task), not self._doubtful[node.index])
            for node in self._run
            if self._after[node.index] and node is not self._asked and node.task.operator_type not in _STRUCTURE
        )

    def _start(self, node: Node) -> None:
        self._decided.add(node.index)
        self._run.append(node)
        if node is self._asked:
            self._after[node.index] = True
            self._ended.append((node, Answer.FAILED if self._answer is None else Answer.SUCCEEDED))
            return
        if isinstance(node.task, TerminateOperatorModel):
            return  # nothing follows
        taken = self._take(node)
        if taken is None:
            self._ended.append((node, Answer.SUCCEEDED))
            return
        self._taken[node.index] = taken
        if not node.branches:
            self._ended.append((node, Answer.SUCCEEDED))
            return
        self._fire(node, node.opened, Answer.SUCCEEDED)
        if not node.children:
            self._ended.append((node, Answer.SUCCEEDED))

    def _member_over(self, node: Node) -> None:
        operator = self._graph.nodes[node.container]
        self._left[operator.index] -= 1
        self._after[operator.index] |= self._after[node.index]
        if not self._left[operator.index] and operator.index in self._taken:
            self._ended.append((operator, Answer.SUCCEEDED))

    def _fire(self, source: Node, edges: Iterable[Edge], ended: Answer) -> None:
        for edge in edges:
            if edge.target in self._decided:
                continue
            answer = self._answer_on(source, edge, ended)
            self._note(source, edge, answer)
            target = self._graph.nodes[edge.target]
            self._arrivals[edge.target].count(edge.via, answer)
            match decide_ready(target.rule, self._arrivals[edge.target]):
                case Verdict.WAIT:
                    continue
                case Verdict.RUN:
                    self._doubtful[edge.target] |= self._heard[edge.target] and not self._certain[edge.target]
                    self._start(target)
                case Verdict.SKIP:
                    self._decided.add(edge.target)
                    self._ended.append((target, Answer.SKIPPED))
                case Verdict.FAIL_UPSTREAM:
                    self._decided.add(edge.target)
                    self._ended.append((target, Answer.FAILED))

    def _answer_on(self, source: Node, edge: Edge, ended: Answer) -> Answer:
        if edge.on is not None:
            return Answer.SUCCEEDED if edge.on is ended else Answer.SKIPPED
        if edge.labels is None or ended is not Answer.SUCCEEDED:
            return ended
        taken = self._taken.get(source.index)
        return Answer.SUCCEEDED if taken is not None and edge.labels & taken.arms else Answer.SKIPPED

    def _note(self, source: Node, edge: Edge, answer: Answer) -> None:
        """How sure it is what the target hears."""
        self._after[edge.target] |= self._after[source.index]
        if answer is Answer.SKIPPED or edge.via is Via.ORDER:
            return
        taken = self._taken.get(source.index)
        perhaps = self._doubtful[source.index]
        if edge.labels is not None and taken is not None and not edge.labels & taken.certain:
            perhaps = True
        if edge.via is Via.MEMBER:
            self._doubtful[edge.target] |= perhaps
        else:
            self._heard[edge.target] = True
            self._certain[edge.target] |= not perhaps

    def _take(self, node: Node) -> _Taken | None:
        """The arms that an operator with arms opens; None for one without."""
        match node.task:
            case ConditionOperatorModel() as task:
                return self._either(task, partial(_arm_of_condition, task))
            case SwitchOperatorModel() as task:
                return self._either(task, partial(_arm_of_switch, task))
            case MultiChoiceOperatorModel() as task:
                return self._some(task)
            case _ if node.branches:
                arms = frozenset(node.branches)
                return _Taken(arms, arms)
            case _:
                return None

    def _either(self, task: BaseOperatorModel, arm: Callable[[Lookup], str]) -> _Taken:
        known = self._known(partial(arm, self._lookup(task)))
        if known is None:
            return _Taken(frozenset(arm_targets(task)), frozenset())
        return _Taken(frozenset({known}), frozenset({known}))

    def _some(self, task: MultiChoiceOperatorModel) -> _Taken:
        lookup = self._lookup(task)
        holds = {
            label: self._known(partial(_holds, branch.condition, lookup)) for label, branch in task.branches.items()
        }
        arms = frozenset(label for label, known in holds.items() if known is not False)
        return _Taken(arms, frozenset(label for label in arms if holds[label]))

    def _lookup(self, task: BaseOperatorModel) -> Lookup:
        is_output = getattr(task, "output_of", None) in {self._asked.task_id, self._asked.written}
        return _Answered(self._asked, self._answer or {}, is_output)

    @staticmethod
    def _known(ask: Callable[[], Any]) -> Any:
        """What it comes to; None if only the run can tell."""
        try:
            return ask()
        except (_UnknownError, ExpressionError):
            return None


def _holds(condition: str, lookup: Lookup) -> bool:
    return parse_condition(condition).is_true(lookup)


def _arm_of_condition(task: ConditionOperatorModel, lookup: Lookup) -> str:
    return "true" if _holds(task.condition, lookup) else "false"


def _arm_of_switch(task: SwitchOperatorModel, lookup: Lookup) -> str:
    case = parse_switch(task.switch_on).choose(lookup, task.cases)
    return DEFAULT_ARM if case is None else case_label(case)


def _does(task: BaseOperatorModel) -> str:
    match task:
        case CallOperatorModel():
            return task.function or f"container {task.image}"
        case TerminateOperatorModel():
            return f"ends the run: {task.status}"
        case ChildWorkflowOperatorModel():
            names = dict.fromkeys(str(child.get("workflow_name", "")) for child in task.children.values())
            return f"starts {', '.join(names)}"
        case _:
            return task.operator_type.replace("_", " ")
