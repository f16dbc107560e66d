"""From the nodes of a graph document to tasks: who waits for whom, behind which condition, with which values.

Three passes: :meth:`Wiring._place` makes the tasks, each node after those before it, so that it finds their outputs;
:meth:`Wiring._leave` notes every way on as an arrival at the task that begins its target; :meth:`Wiring._arrive` turns
all arrivals of a task into dependencies, arms or relays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

from highway_core.engine.graph_document_loops import Shape, reached
from highway_core.engine.graph_document_reader import GraphNode, Loop
from highway_core.engine.graph_document_tasks import Work, names_in_context

Task = dict[str, Any]

_TAKES_OUTPUT = frozenset({"transform", "filter", "aggregate"})
_VALUE = "tools.transform.value"
_ROUND = "tools.transform.round"


@dataclass(frozen=True, slots=True)
class _Way:
    """One way on: behind an arm of a condition (``arm`` is its field), or simply after the task."""

    task: Task
    arm: str = ""


@dataclass(frozen=True, slots=True)
class _Arrival:
    source: str
    target: GraphNode
    way: _Way


@dataclass(slots=True)
class Wiring:
    """Converts one document that has no problems."""

    nodes: Mapping[str, GraphNode]
    shape: Shape
    works: Mapping[str, Work]
    variables: frozenset[str]
    _scopes: dict[str | None, list[Task]] = field(default_factory=dict)
    """Loop node (None: the workflow itself) → the tasks that stand in it."""
    _made: dict[str, tuple[str | None, Task]] = field(default_factory=dict)
    """Task id → where it stands, and the task."""
    _first: dict[str, Task] = field(default_factory=dict)
    """Node → its first task; a ``loop`` without a tool may have none."""
    _output: dict[str, str | None] = field(default_factory=dict)
    """Node → the task whose result is what the node gives."""
    _rules: dict[str, list[Task]] = field(default_factory=dict)
    _whiles: dict[str, Task] = field(default_factory=dict)
    _carries: list[tuple[Task, str]] = field(default_factory=list)
    """Tasks that hand on what a loop's last round gave, and the loop node."""
    _arrivals: dict[str, tuple[Task, list[_Arrival]]] = field(default_factory=dict)
    """By the id of the task that they are for."""

    def tasks(self) -> dict[str, Task]:
        """The tasks of the document, by id."""
        for node_id in self.shape.order:
            self._place(self.nodes[node_id])
        for carry, loop_id in self._carries:
            carry["kwargs"]["again"] = _reference(self._output[loop_id])
        for node_id in self.shape.order:
            self._bind_context(node_id)
            self._leave(self.nodes[node_id])
        for task, arrivals in self._arrivals.values():
            self._arrive(task, arrivals)
        for loop_id, task in self._whiles.items():
            task["loop_body"] = self._scopes[loop_id]
        return {task["task_id"]: task for task in self._scopes[None]}

    def _place(self, node: GraphNode) -> None:
        scope = self.shape.owner[node.node_id]
        for loop_id in reversed(self.shape.around(scope)):
            if loop_id not in self._whiles:
                self._open_loop(self.nodes[loop_id])
        begun = self._carry(node) if not node.has_work or node.kind in _TAKES_OUTPUT else None
        if node.has_work:
            self._place_work(node, scope, begun)
        elif begun is None and len(self.shape.before[node.node_id]) > 1:
            name = self._fresh(f"{node.node_id}-input")
            begun = self._call(scope, name, _VALUE, value=self._incoming(node))
        if begun is not None:
            self._first[node.node_id] = begun
        if not node.has_work:
            source = next(iter(self.shape.before[node.node_id]), None)
            self._output[node.node_id] = begun["task_id"] if begun else self._output[source] if source else None
        if node.routes:
            self._place_rules(node, scope)

    def _open_loop(self, node: GraphNode) -> None:
        """Make the ``while``; its condition follows when the output of its rounds is known."""
        work = self.works[node.node_id]
        task = self._add(
            self.shape.parent[node.node_id],
            {
                "task_id": f"{node.node_id}.loop" if node.has_work else node.node_id,
                "operator_type": "while",
                **({} if node.has_work else work.policies),
                "test_after": True,
            },
        )
        if node.loop is not None:
            task["metadata"] = {**task.get("metadata", {}), "max_iterations": node.loop.limit}
        self._whiles[node.node_id] = task

    def _carry(self, node: GraphNode) -> Task | None:
        """What hands the node its input where it begins the rounds of loops: one task for each, the outermost first."""
        around = self.shape.around(self.shape.owner[node.node_id])
        begun = list(takewhile(lambda one: self._starts(one, node.node_id), around))
        task: Task | None = None
        for loop_id in reversed(begun):
            first = self._incoming(node) if task is None else _reference(task["task_id"])
            if task is not None:
                self._whiles[loop_id]["dependencies"] = [task["task_id"]]
            name = self._fresh(f"{node.node_id}-input")
            task = self._call(loop_id, name, _ROUND, number="{{iteration}}", first=first)
            self._carries.append((task, loop_id))
        return task

    def _starts(self, loop_id: str, node_id: str) -> bool:
        loop = self.nodes[loop_id].loop
        return loop is not None and loop.back_to == node_id

    def _place_work(self, node: GraphNode, scope: str | None, begun: Task | None) -> None:
        work = self.works[node.node_id]
        task = self._add(scope, {"task_id": node.node_id, "operator_type": "task", **work.fields, **work.policies})
        if node.kind in _TAKES_OUTPUT:
            output = self._incoming(node) if begun is None else _reference(begun["task_id"])
            task["kwargs"] = task["kwargs"] if output is None else {**task["kwargs"], "output": output}
        if begun is None:
            self._first[node.node_id] = task
        else:
            task["dependencies"] = [begun["task_id"]]
        self._output[node.node_id] = node.node_id

    def _place_rules(self, node: GraphNode, scope: str | None) -> None:
        """A chain of conditions: each next one is the head of the arm where the one before did not hold."""
        name = node.node_id
        chain: list[Task] = []
        for number, rule in enumerate(node.rules, 1):
            own_id = number == 1 and not node.has_work
            task = self._condition(scope, name if own_id else f"{name}.rule{number}", rule.condition, name)
            if chain:
                _lead(_Way(chain[-1], "if_false"), task)
            elif node.has_work:
                task["dependencies"] = [name]
            else:
                task |= self.works[name].policies
                before = self._first.setdefault(name, task)
                if before is not task:
                    task["dependencies"] = [before["task_id"]]
            chain.append(task)
        self._rules[name] = chain

    def _incoming(self, node: GraphNode) -> Any:
        """What came into the node, as a template: one result, or several by node id."""
        before = self.shape.before[node.node_id]
        if len(before) == 1:
            return _reference(self._output[before[0]])
        return {name: _reference(self._output[name]) for name in before} or None

    def _bind_context(self, node_id: str) -> None:
        """Give a task with CEL in its arguments the values that the CEL mentions."""
        expressions = self.works[node_id].expressions
        names = names_in_context(expressions)
        if names is None:
            names = {*self.variables, *reached(node_id, self.shape.before)} - {node_id}
        if not names:
            return
        _, task = self._made[node_id]
        task["kwargs"]["context"] = {
            name: _reference(self._output[name] if name in self.nodes else name) for name in sorted(names)
        }

    def _leave(self, node: GraphNode) -> None:
        if node.loop is not None:
            self._leave_loop(node, node.loop)
        elif node.routes:
            chain = self._rules[node.node_id]
            for rule, task in zip(node.rules, chain, strict=True):
                self._note(node, rule.targets, _Way(task, "if_true"))
            self._note(node, node.default, _Way(chain[-1], "if_false"))
        else:
            scope = self.shape.owner[node.node_id]
            task = {"task_id": node.node_id}
            self._note(node, node.plain, _Way(task))
            self._leave_guarded(node, scope, _Way(task))

    def _leave_loop(self, node: GraphNode, loop: Loop) -> None:
        task, scope, name = self._whiles[node.node_id], self.shape.parent[node.node_id], node.node_id
        task |= {"condition": f"cel: {loop.condition}", "output_of": self._output[name]}
        after = _Way(task)
        if loop.timeouts:
            counter = self._call(name, self._fresh(f"{name}-rounds"), _VALUE, value="{{iteration}}")["task_id"]
            task["condition"] = f'cel: ({loop.condition}\n) && ctx["{counter}"] < {loop.limit}'
            ended = self._condition(scope, f"{name}.ended", loop.condition, name)
            ended["dependencies"] = [task["task_id"]]
            after = _Way(ended, "if_false")
            self._note(node, loop.timeouts, _Way(ended, "if_true"))
        self._note(node, loop.breaks, after)
        self._leave_guarded(node, scope, after)

    def _leave_guarded(self, node: GraphNode, scope: str | None, after: _Way) -> None:
        for target, condition in node.guarded.items():
            task = self._condition(scope, f"{node.node_id}.if.{target}", condition, node.node_id)
            _lead(after, task)
            self._note(node, [target], _Way(task, "if_true"))

    def _note(self, source: GraphNode, targets: Sequence[str], way: _Way) -> None:
        """Let ``way`` lead to the first task of each target; into a loop, to the loop."""
        here = self.shape.scope_after(source.node_id)
        for name in targets:
            entered = list(takewhile(lambda one: one != here, self.shape.around(self.shape.owner[name])))
            task = self._whiles[entered[-1]] if entered else self._first.get(name)
            if task is not None:
                _, arrivals = self._arrivals.setdefault(task["task_id"], (task, []))
                arrivals.append(_Arrival(source.node_id, self.nodes[name], way))

    def _arrive(self, task: Task, arrivals: list[_Arrival]) -> None:
        by_source: dict[str, list[_Arrival]] = {}
        for arrival in arrivals:
            by_source.setdefault(arrival.source, []).append(arrival)
        for source, ways in by_source.items():
            always = next((one.way for one in ways if not one.way.arm), None)
            relay = task
            if always is None and len(by_source) > 1:
                scope, _ = self._made[task["task_id"]]
                relay = self._condition(scope, f"{source}.to.{ways[0].target.node_id}", None)
                _lead(_Way(relay), task)
            for way in [always] if always is not None else [one.way for one in ways]:
                _lead(way, relay)
        if len(by_source) > 1 and not all(one.target.wait_for_all for one in arrivals):
            task["trigger_rule"] = "one_success"

    def _condition(self, scope: str | None, task_id: str, condition: str | None, node_id: str | None = None) -> Task:
        """A condition (None: one that always holds) over what the node ``node_id`` gives."""
        task = {"task_id": task_id, "operator_type": "condition", "condition": f"cel: {condition}"}
        if condition is None:
            task["condition"] = "true"
        output = None if node_id is None else self._output[node_id]
        return self._add(scope, task if output is None else {**task, "output_of": output})

    def _call(self, scope: str | None, task_id: str, function: str, **kwargs: Any) -> Task:
        task = {"task_id": task_id, "operator_type": "task", "function": function, "kwargs": kwargs}
        return self._add(scope, task)

    def _add(self, scope: str | None, task: Task) -> Task:
        self._scopes.setdefault(scope, []).append(task)
        self._made[task["task_id"]] = (scope, task)
        return task

    def _fresh(self, name: str) -> str:
        """``name``, made longer until nothing else has it. It has no dot, so that ``{{…}}`` can name it."""
        while name in self.nodes or name in self._made:
            name += "-"
        return name


def _reference(task_id: str | None) -> str | None:
    return None if task_id is None else f"{{{{{task_id}}}}}"


def _lead(way: _Way, task: Task) -> None:
    """Make ``task`` the head of the way's arm, or a follower of the way's task."""
    if way.arm:
        way.task.setdefault(way.arm, []).append(task["task_id"])
    else:
        task.setdefault("dependencies", []).append(way.task["task_id"])
