"""The shape of a graph document as a whole: its order, its cycles, and which nodes each of its loops repeats.

A loop repeats the nodes on the ways from its ``loop_back_to`` to the loop node itself. Loops stand apart or inside each
other, and control leaves one only at its loop node: anything else has no meaning as a ``while``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from highway_core.engine.cycles import find_cycle
from highway_core.engine.graph_document_reader import GraphNode

Ways = Mapping[str, list[str]]


@dataclass(slots=True)
class Shape:
    """The nodes in an order in which each comes after those that lead to it, and the loop around each."""

    order: list[str]
    before: dict[str, list[str]]
    """Node → those that lead to it, a loop's way back not counted."""
    owner: dict[str, str | None] = field(default_factory=dict)
    """Node → the innermost loop that repeats it; a loop node stands in its own loop."""
    parent: dict[str, str | None] = field(default_factory=dict)
    """Loop node → the loop around it."""

    def around(self, scope: str | None) -> list[str]:
        """The loop ``scope`` and those around it, innermost first."""
        found = []
        while scope is not None:
            found.append(scope)
            scope = self.parent[scope]
        return found

    def scope_after(self, node_id: str) -> str | None:
        """The loop in which control stands once the node is done: a loop node is the way out of its loop."""
        return self.parent[node_id] if node_id in self.parent else self.owner[node_id]


def find_shape(nodes: Mapping[str, GraphNode]) -> Shape | None:
    """The shape, or None if a problem (now in the report) leaves none."""
    after = {node_id: node.targets() for node_id, node in nodes.items()}
    before: dict[str, list[str]] = {node_id: [] for node_id in nodes}
    for node_id, targets in after.items():
        for target in targets:
            before[target].append(node_id)
    report = next(iter(nodes.values())).section.report
    if all(before.values()):
        report.add(("edges",), "no entry node: something leads to every node, so none can begin")
    if all(after.values()):
        report.add(("edges",), "no terminal node: something follows every node, so the run could not end")
    cycle = find_cycle(after)
    if cycle is not None:
        start = cycle.index(min(cycle))
        names = [*cycle[start:], *cycle[:start], cycle[start]]
        nodes[names[0]].section.problem(
            None, f"cycle: {' → '.join(names)}", "only a loop node's loop_back_to goes back"
        )
        return None
    shape = Shape(_sorted(after, before), before)
    _nest_loops(shape, nodes, after)
    for node in nodes.values():
        _check_crossings(node, shape, nodes)
    return shape


def _sorted(after: Ways, before: Ways) -> list[str]:
    left = {node_id: len(sources) for node_id, sources in before.items()}
    ready = deque(node_id for node_id, count in left.items() if not count)
    order = []
    while ready:
        node_id = ready.popleft()
        order.append(node_id)
        for target in after[node_id]:
            left[target] -= 1
            if not left[target]:
                ready.append(target)
    return order


def _nest_loops(shape: Shape, nodes: Mapping[str, GraphNode], after: Ways) -> None:
    shape.owner = dict.fromkeys(nodes)
    bodies: dict[str, set[str]] = {}
    for node_id, node in nodes.items():
        if node.loop is None or not node.loop.back_to:
            continue
        body = reached(node.loop.back_to, after) & reached(node_id, shape.before)
        if not body:
            node.section.problem(None, f"nothing leads from '{node.loop.back_to}' (loop_back_to) to '{node_id}'")
        elif body == {node_id} and not node.has_work:
            node.section.problem(
                None, f"the loop '{node_id}' repeats nothing", "loop_back_to names where a round begins"
            )
        else:
            bodies[node_id] = body
    for node_id in sorted(bodies, key=lambda one: len(bodies[one]), reverse=True):
        around = {shape.owner[name] for name in bodies[node_id]}
        if len(around) > 1:
            other = min(name for name in around if name is not None)
            nodes[node_id].section.problem(
                None, f"the loops '{node_id}' and '{other}' overlap", "put one inside the other"
            )
            continue
        shape.parent[node_id] = around.pop()
        for name in bodies[node_id]:
            shape.owner[name] = node_id


def _check_crossings(node: GraphNode, shape: Shape, nodes: Mapping[str, GraphNode]) -> None:
    """Refuse ways out of the middle of a loop, and conditions that lead into the middle of one."""
    here = shape.scope_after(node.node_id)
    always = node.always()
    for target in node.targets():
        around = shape.around(shape.owner[target])
        if here is not None and here not in around:
            message = f"'{node.node_id}' leads out of the loop '{here}', to '{target}'"
            node.section.problem(None, message, f"a loop is left at its loop node: name '{target}' in its break_path")
            continue
        entered = around if here is None else around[: around.index(here)]
        for loop_id in entered:
            loop = nodes[loop_id].loop
            if loop is not None and loop.back_to != target and target not in always:
                message = (
                    f"a condition of '{node.node_id}' leads into the middle of the loop '{loop_id}', to '{target}'"
                )
                node.section.problem(None, message, f"lead to '{loop.back_to}', where its rounds begin")
                break


def reached(start: str, ways: Mapping[str, Iterable[str]]) -> set[str]:
    """``start`` and whatever the ways lead to from it."""
    seen = {start}
    waiting = [start]
    while waiting:
        for other in ways[waiting.pop()]:
            if other not in seen:
                seen.add(other)
                waiting.append(other)
    return seen
