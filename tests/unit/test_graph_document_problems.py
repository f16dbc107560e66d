"""What is wrong with a nodes-and-edges document: all of it at once, each with its place."""

from __future__ import annotations

from typing import Any

import pytest

from highway_core.engine.graph_documents import from_graph_document
from highway_core.engine.loader import Source, compile_document
from highway_core.engine.report import Report
from highway_core.errors import DocumentError, Problem

pytest.importorskip("cel")


def problems(nodes: Any, edges: Any = (), **keys: Any) -> list[Problem]:
    report = Report()
    from_graph_document({"nodes": nodes, "edges": list(edges) if isinstance(edges, tuple) else edges, **keys}, report)
    return report.problems


def texts(nodes: Any, edges: Any = (), **keys: Any) -> list[str]:
    return [str(problem) for problem in problems(nodes, edges, **keys)]


def calc(node_id: str, **config: Any) -> dict[str, Any]:
    return {"id": node_id, "type": "transform", "config": {"expression": "output"} | config}


def loop(node_id: str, **config: Any) -> dict[str, Any]:
    return {"id": node_id, "type": "loop", "config": {"condition": "output < 3"} | config}


def edge(source: str, target: str, **keys: Any) -> dict[str, Any]:
    return {"from": source, "to": target, **keys}


def test_everything_is_told_at_once() -> None:
    found = texts(
        [
            {"id": "fetch", "type": "htp", "config": {}},
            {"id": "fetch", "type": "http", "config": {"url": "x"}},
            {"id": "wait", "type": "transform", "config": {"expresion": "1"}},
        ],
        [edge("fetch", "wiat"), {"form": "fetch", "to": "wait"}],
    )
    assert found == [
        "nodes[0].type: unknown node type 'htp' (did you mean 'http'?)",
        "nodes[1].id: duplicate node id 'fetch'",
        "edges[0].to: there is no node 'wiat' (did you mean 'wait'?)",
        "edges[1].form: unknown key 'form' (did you mean 'from'?)",
        "edges[1]: missing field 'from'",
        "nodes[2].config.expresion: unknown key 'expresion' (did you mean 'expression'?)",
        "nodes[2].config: missing field 'expression'",
    ]


def test_the_loader_refuses_the_document_with_all_of_it() -> None:
    document = {"nodes": [calc("a"), calc("a")], "edges": [edge("a", "b")]}
    with pytest.raises(DocumentError) as caught:
        compile_document(Source(document, "flow.json"))
    assert [problem.place for problem in caught.value.problems] == ["nodes[1].id", "edges[0].to"]


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"type": "transform"}, "nodes[0]: missing field 'id'"),
        ({"id": "a"}, "nodes[0]: missing field 'type'"),
        ({"id": 7, "type": "http"}, "nodes[0].id: 'id' must be a text, not 7"),
        ({"id": "a.b", **calc("")} | {"id": "a.b"}, "nodes[0].id: the node id 'a.b' cannot be used in a reference"),
        ({**calc("a"), "config": []}, "nodes[0].config: 'config' must be a mapping"),
        ({**calc("a"), "wait_for_all": 1}, "nodes[0].wait_for_all: 'wait_for_all' must be true or false"),
        ({**calc("a"), "timeout_ms": "5"}, "nodes[0].timeout_ms: timeout_ms must be a number"),
        ({**calc("a"), "retry": {"max_atempts": 1}}, "nodes[0].retry.max_atempts: unknown key 'max_atempts'"),
        ({**calc("a"), "retry": 3}, "nodes[0].retry: 'retry' must be a mapping"),
        ({**calc("a"), "typ": 1}, "nodes[0].typ: unknown key 'typ' (did you mean 'type'?)"),
        ({"id": "a", "type": "function"}, "nodes[0].config: missing field 'function'"),
        ({"id": "a", "type": "function", "config": {"function": "f", "arg": 1}}, "nodes[0].config.arg: unknown key"),
        ({"id": "a", "type": "function", "config": {"tool": "f", "args": [], "agrs": 1}}, "unknown key 'agrs'"),
        ({"id": "a", "type": "http", "config": {"uri": "x"}}, "nodes[0].config.uri: unknown key 'uri' (write url)"),
        ({"id": "a", "type": "parallel"}, "several edges out of one node run in parallel"),
        (calc("a", expression="1 +"), "nodes[0].config.expression: cel: 1 +: Syntax error"),
        (calc("a", expression="outptu.x"), "'outptu' is not known; there are output, context and ctx."),
        (calc("a", expression="{{b}} + 1"), "nodes[0].config.expression: CEL has no braces"),
        (calc("a", expression=5), "nodes[0].config.expression: 'expression' must be a text"),
        ({"id": "a", "type": "filter", "config": {}}, "nodes[0].config: missing field 'condition'"),
        ({"id": "a", "type": "aggregate", "config": {}}, "needs 'operation' or 'expression' (one of count, sum,"),
        ({"id": "a", "type": "aggregate", "config": {"operation": "summ"}}, "unknown operation 'summ'"),
        ({"id": "a", "type": "conditional"}, "nodes[0]: the conditional 'a' has no condition"),
        ({"id": "a", "type": "conditional", "config": {"rules": {}}}, "'rules' must be a list of mappings"),
        (
            {"id": "a", "type": "conditional", "config": {"rules": [{"next_nodes": "b"}]}},
            "nodes[0].config.rules[0]: missing field 'condition'",
        ),
        (
            {"id": "a", "type": "conditional", "config": {"rules": [{"condition": "true", "next_nodes": "b"}]}},
            "nodes[0].config.rules[0].next_nodes: there is no node 'b'",
        ),
        ({**calc("a"), "branch": {}, "loop": {}}, "'a' is a branch and a loop at once"),
    ],
)
def test_a_node_that_is_wrong(node: dict[str, Any], message: str) -> None:
    assert any(message in text for text in texts([node])), texts([node])


@pytest.mark.parametrize(
    ("config", "place", "message"),
    [
        ({}, "nodes[1].config", "the loop 'l' has no 'loop_back_to'"),
        ({"loop_back_to": "x"}, "nodes[1].config.loop_back_to", "there is no node 'x'"),
        ({"loop_back_to": "a", "condition": None}, "nodes[1]", "the loop 'l' has no condition"),
        ({"loop_back_to": "a", "condition": "outptu"}, "nodes[1].config.condition", "'outptu' is not known"),
        ({"loop_back_to": "a", "condition": "{{a}} > 1"}, "nodes[1].config.condition", "cel: {{a}} > 1"),
        ({"loop_back_to": "a", "condition": 5}, "nodes[1].config.condition", "a condition must be a text"),
        ({"loop_back_to": "a", "condition": {"type": "js"}}, "nodes[1].config.condition", "CEL, not 'js'"),
        ({"loop_back_to": "a", "max_iterations": 0}, "nodes[1].config.max_iterations", "above 0, not 0"),
        ({"loop_back_to": "a", "max_iterations": True}, "nodes[1].config.max_iterations", "not True"),
        ({"loop_back_to": "a", "break_path": ["nope"]}, "nodes[1].config.break_path", "there is no node 'nope'"),
        (
            {"loop_back_to": "a", "timeout_path": 7},
            "nodes[1].config.timeout_path",
            "the id of a node, or a list of ids",
        ),
        ({"loop_back_to": "a", "brek_path": []}, "nodes[1].config.brek_path", "unknown key 'brek_path'"),
        ({"loop_back_to": "l"}, "nodes[1]", "the loop 'l' repeats nothing"),
        ({"loop_back_to": "z"}, "nodes[1]", "nothing leads from 'z' (loop_back_to) to 'l'"),
    ],
)
def test_a_loop_that_is_wrong(config: dict[str, Any], place: str, message: str) -> None:
    found = problems([calc("a"), loop("l", **config), calc("z")], (edge("a", "l"),))
    assert any(problem.place == place and message in problem.message for problem in found), found


def test_an_edge_back_with_another_condition_is_a_contradiction() -> None:
    found = texts([calc("a"), loop("l", loop_back_to="a")], (edge("a", "l"), edge("l", "a", condition="output > 9")))
    assert found == ["edges[1].condition: the loop 'l' has another condition of its own (keep one of them)"]


def test_a_cycle_without_a_loop_node_is_named_whole() -> None:
    nodes = [calc("start"), calc("c"), calc("a"), calc("b"), calc("end")]
    ways = (edge("start", "a"), edge("a", "b"), edge("b", "c"), edge("c", "a"), edge("c", "end"))
    assert texts(nodes, ways) == ["nodes[2]: cycle: a → b → c → a (only a loop node's loop_back_to goes back)"]


def test_a_workflow_needs_a_node_to_begin_with_and_one_to_end_with() -> None:
    found = texts([calc("a"), calc("b")], (edge("a", "b"), edge("b", "a")))
    assert found[0].startswith("edges: no entry node")
    assert found[1].startswith("edges: no terminal node")
    assert found[2].startswith("nodes[0]: cycle: a → b → a")


def test_nothing_follows_a_node_that_is_marked_terminal() -> None:
    found = texts([{**calc("a"), "terminal": True}, {**calc("b"), "terminal": True}], (edge("a", "b"),))
    assert found == ["nodes[0].terminal: 'a' is terminal, but 'b' follows it"]


def test_a_loop_is_left_at_its_loop_node_only() -> None:
    nodes = [calc("a"), calc("b"), loop("l", loop_back_to="a"), calc("out")]
    found = texts(nodes, (edge("a", "b"), edge("b", "l"), edge("b", "out")))
    assert found == [
        "nodes[1]: 'b' leads out of the loop 'l', to 'out' "
        "(a loop is left at its loop node: name 'out' in its break_path)"
    ]


def test_no_condition_leads_into_the_middle_of_a_loop() -> None:
    nodes = [calc("s"), calc("a"), calc("b"), loop("l", loop_back_to="a")]
    ways = (edge("s", "a"), edge("a", "b"), edge("b", "l"))
    assert texts(nodes, (*ways, edge("s", "b"))) == []
    assert texts(nodes, (*ways, edge("s", "b", condition="output > 1"))) == [
        "nodes[0]: a condition of 's' leads into the middle of the loop 'l', to 'b' "
        "(lead to 'a', where its rounds begin)"
    ]


def test_loops_do_not_overlap() -> None:
    nodes = [calc("a"), calc("b"), loop("one", loop_back_to="a"), calc("c"), loop("two", loop_back_to="b")]
    ways = (edge("a", "b"), edge("b", "one"), edge("one", "c"), edge("c", "two"))
    assert texts(nodes, ways) == ["nodes[2]: the loops 'one' and 'two' overlap (put one inside the other)"]


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"nodes": []}, "nodes: the workflow has no nodes"),
        ({"nodes": {}}, "nodes: 'nodes' must be a list"),
        ({"nodes": None}, "nodes: the workflow has no nodes"),
        ({"nodes": ["a"]}, "nodes[0]: an entry of 'nodes' must be a mapping"),
        ({"nodes": [calc("a")], "edges": {"from": "a"}}, "edges: 'edges' must be a list"),
        ({"nodes": [calc("a")], "edges": [["a", "b"]]}, "edges[0]: an entry of 'edges' must be a mapping"),
        ({"nodes": [calc("a")], "edges": [{"source": "a", "target": "a"}]}, "edges[0].source: unknown key 'source'"),
        ({"nodes": [calc("a")], "metadata": 1}, "metadata: 'metadata' must be a mapping"),
        ({"nodes": [calc("a")], "egdes": []}, "egdes: unknown key 'egdes' (did you mean 'edges'?)"),
    ],
)
def test_a_frame_that_is_wrong(document: dict[str, Any], message: str) -> None:
    report = Report()
    from_graph_document(document, report)
    assert any(str(problem).startswith(message) for problem in report.problems), report.problems


@pytest.mark.parametrize("variables", [5, [{}], "x"])
def test_variables_that_are_no_mapping_are_refused_as_in_any_document(variables: Any) -> None:
    document = {"name": "x", "nodes": [calc("a", expression="size(ctx)")], "variables": variables}
    with pytest.raises(DocumentError, match="variables: must be"):
        compile_document(Source(document, "flow.json"))


def test_a_key_that_nothing_reads_is_a_warning() -> None:
    report = Report()
    node = {**calc("a"), "colour": "red"}
    from_graph_document({"nodes": [node], "edges": [], "zoom": 2}, report)
    assert [str(problem) for problem in report.warnings] == [
        "zoom: nothing reads the key 'zoom'",
        "nodes[0].colour: nothing reads the key 'colour'",
    ]
    assert report.problems == []


def test_a_condition_beside_an_edge_that_is_always_taken_is_a_warning() -> None:
    report = Report()
    edges = [edge("a", "b"), edge("a", "b", condition="output > 1")]
    from_graph_document({"nodes": [calc("a"), calc("b")], "edges": edges}, report)
    assert "changes nothing" in str(report.warnings[0])
