"""Properties of graph documents, over random graphs with conditions and loops, and over random rubbish."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from highway_core.engine.graph_documents import from_graph_document
from highway_core.engine.loader import Source, compile_document
from highway_core.engine.report import Report
from highway_core.errors import DocumentError
from highway_core.tools.registry import ToolRegistry
from tests.simulation import Simulation

pytest.importorskip("cel")

many = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
TOOLS = ToolRegistry()


@dataclass
class Graph:
    """A document, and which of its nodes run according to the edges alone."""

    nodes: list[dict[str, Any]] = field(default_factory=list)
    edges: list[dict[str, Any]] = field(default_factory=list)
    runs: set[str] = field(default_factory=set)
    rounds: dict[str, int] = field(default_factory=dict)
    """First node of a loop → how many rounds it makes."""
    entered: set[str] = field(default_factory=set)

    def lead(self, source: str, target: str, condition: str | None, taken: bool) -> None:
        keys = {} if condition is None else {"condition": condition}
        self.edges.append({"from": source, "to": target, **keys})
        self.mark(target, taken)

    def mark(self, target: str, taken: bool) -> None:
        self.entered.add(target)
        if taken:
            self.runs.add(target)


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Nodes whose edges lead forward only; every third or so is a loop of two nodes, ``b<n>`` and ``n<n>``."""
    graph = Graph()
    size = draw(st.integers(1, 7))
    kinds = draw(st.lists(st.sampled_from(["plain", "conditional", "loop"]), min_size=size, max_size=size))
    firsts = [f"b{n}" if kind == "loop" else f"n{n}" for n, kind in enumerate(kinds)]
    for n, kind in enumerate(kinds):
        targets = draw(st.lists(st.sampled_from(firsts[n + 1 :]), max_size=4)) if firsts[n + 1 :] else []
        conditions = draw(
            st.lists(st.sampled_from([None, "true", "false"]), min_size=len(targets), max_size=len(targets))
        )
        if firsts[n] not in graph.entered:
            graph.runs.add(firsts[n])
        runs = firsts[n] in graph.runs
        if kind == "loop":
            _add_loop(draw, graph, n, targets, runs)
        elif kind == "conditional" and any(conditions):
            _add_conditional(graph, n, targets, conditions, runs)
        else:
            graph.nodes.append({"id": f"n{n}", "type": "transform", "config": {"expression": "1"}})
            for target, condition in zip(targets, conditions, strict=True):
                graph.lead(f"n{n}", target, condition, runs and condition != "false")
    return graph


def _add_conditional(graph: Graph, n: int, targets: list[str], conditions: list[str | None], runs: bool) -> None:
    graph.nodes.append({"id": f"n{n}", "type": "conditional"})
    ruled = {target for target, condition in zip(targets, conditions, strict=True) if condition}
    for target, condition in zip(targets, conditions, strict=True):
        if condition is None and target in ruled:
            continue  # whether that edge draws a rule or is the default depends on which of the two comes first
        taken = condition == "true" if "true" in conditions else condition is None
        graph.lead(f"n{n}", target, condition, runs and taken)


def _add_loop(draw: st.DrawFn, graph: Graph, n: int, targets: list[str], runs: bool) -> None:
    endless = draw(st.booleans())
    late = draw(st.lists(st.sampled_from(targets), max_size=2)) if targets else []
    goes_on = endless and bool(late)
    limit = draw(st.integers(1, 3))
    loop = {"loop_back_to": f"b{n}", "condition": "true" if goes_on else "false", "max_iterations": limit}
    config = loop | {"break_path": targets, "timeout_path": late}
    graph.nodes.append({"id": f"b{n}", "type": "transform", "config": {"expression": "output"}})
    graph.nodes.append({"id": f"n{n}", "type": "loop", "config": config})
    graph.edges.append({"from": f"b{n}", "to": f"n{n}"})
    if runs:
        graph.runs.add(f"n{n}")
        graph.rounds[f"b{n}"] = limit if goes_on else 1
    for target in {*targets, *late}:
        graph.mark(target, runs and target in (late if goes_on else targets))


@many
@given(graphs(), st.integers(0, 2**32))
def test_exactly_the_nodes_run_to_which_a_taken_edge_leads(graph: Graph, seed: int) -> None:
    document = {"nodes": graph.nodes, "edges": graph.edges}
    simulation = Simulation(compile_document(Source(document, "random"), TOOLS)[0], seed)
    run = simulation.drive()
    assert run.status.value == "completed", run.error
    completed = {path for path, status in simulation.statuses().items() if status == "completed"}
    assert {path for path in completed if path in {node["id"] for node in graph.nodes}} == {
        node_id for node_id in graph.runs if not node_id.startswith("b")
    }
    for node in graph.nodes:
        first = node["id"]
        if first.startswith("b"):
            rounds = sum(path.endswith(f"].{first}") for path in completed)
            assert rounds == graph.rounds.get(first, 0)


ROUTING = ["rules", "next_nodes", "default", "loop_back_to", "break_path", "timeout_path", "max_iterations", "branch"]
KEYS = st.sampled_from(
    [*ROUTING, "id", "type", "config", "from", "to", "condition", "expression", "function", "kwargs", "x"]
)
WORDS = st.sampled_from(["a", "b", "c", "", "function", "loop", "conditional", "transform", "output", "true", "{{a}}"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 3) | st.floats(allow_nan=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
NODES = st.fixed_dictionaries(
    {"id": WORDS, "type": st.sampled_from(["function", "loop", "conditional", "transform", "filter", "aggregate"])},
    optional={
        "config": st.dictionaries(KEYS, VALUES, max_size=5),
        "loop": VALUES,
        "branch": VALUES,
        "metadata": VALUES,
    },
)
EDGES = st.fixed_dictionaries({"from": WORDS, "to": WORDS}, optional={"condition": VALUES})


@many
@given(
    st.dictionaries(st.sampled_from(["name", "metadata", "variables", "version", "zoom"]), VALUES, max_size=3),
    VALUES | st.lists(NODES | VALUES, max_size=5),
    VALUES | st.lists(EDGES | VALUES, max_size=6),
)
def test_rubbish_is_refused_with_problems_and_nothing_else(frame: dict[str, Any], nodes: Any, edges: Any) -> None:
    document = {**frame, "nodes": nodes, "edges": edges}
    report = Report()
    from_graph_document(document, report)
    try:
        compile_document(Source(document, "random"))
    except DocumentError as error:
        assert error.problems
    else:
        assert not report.problems
