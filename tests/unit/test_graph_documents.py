"""What a nodes-and-edges document becomes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from highway_core.engine.graph_documents import from_graph_document, is_graph_document
from highway_core.engine.loader import Source, compile_document
from highway_core.engine.report import Report
from highway_core.tools.registry import ToolRegistry

pytest.importorskip("cel")

Node = dict[str, Any]


def calc(node_id: str, expression: str = "output", **keys: Any) -> Node:
    return {"id": node_id, "type": "transform", "config": {"expression": expression}, **keys}


def edges(*pairs: str) -> list[dict[str, Any]]:
    """``"a b"`` and ``"a b output > 1"`` as edges."""
    found = []
    for pair in pairs:
        source, target, *condition = pair.split(" ", 2)
        found.append({"from": source, "to": target} | ({"condition": condition[0]} if condition else {}))
    return found


def converted(nodes: list[Node], *pairs: str, **keys: Any) -> dict[str, Any]:
    """The tasks of a document that has no problems, compiled as well."""
    document = {"nodes": nodes, "edges": edges(*pairs), **keys}
    report = Report()
    tasks = from_graph_document(document, report)["tasks"]
    assert not report.problems
    assert not report.warnings
    compile_document(Source(document, "test"), ToolRegistry())
    return tasks


def test_a_graph_document_is_known_by_its_nodes() -> None:
    assert is_graph_document({"nodes": []})
    assert not is_graph_document({"nodes": [], "tasks": {}})
    assert not is_graph_document({"name": "x"})


def test_the_name_and_more_may_stand_in_the_metadata() -> None:
    nodes = [calc("a")]
    frame = from_graph_document(
        {"metadata": {"name": "inner", "tags": ["x"], "version": "2"}, "description": "d", "nodes": nodes}, Report()
    )
    assert {key: frame[key] for key in ("name", "tags", "version", "description")} == {
        "name": "inner",
        "tags": ["x"],
        "version": "2",
        "description": "d",
    }
    assert (
        from_graph_document({"name": "outer", "metadata": {"name": "x"}, "nodes": nodes}, Report())["name"] == "outer"
    )
    assert from_graph_document({"id": "by-id", "nodes": nodes}, Report())["name"] == "by-id"
    assert from_graph_document({"nodes": nodes}, Report())["name"] == "graph"


def test_plain_edges_are_dependencies() -> None:
    tasks = converted([calc("a"), calc("b"), calc("c"), calc("d")], "a b", "a c", "b d", "c d")
    assert {name: task.get("dependencies", []) for name, task in tasks.items()} == {
        "a": [],
        "b": ["a"],
        "c": ["a"],
        "d": ["b", "c"],
    }


def test_an_edge_that_is_drawn_twice_counts_once() -> None:
    assert converted([calc("a"), calc("b")], "a b", "a b")["b"]["dependencies"] == ["a"]


@pytest.mark.parametrize(
    ("config", "fields"),
    [
        ({"function": "tools.log.info", "args": ["x"]}, {"args": ["x"]}),
        ({"function_name": "tools.log.info", "params": {"message": "x"}}, {"kwargs": {"message": "x"}}),
        ({"tool": "tools.log.info", "message": "{{x}}"}, {"kwargs": {"message": "{{x}}"}}),
        ({"function": "tools.log.info", "kwargs": {"message": 1}}, {"kwargs": {"message": 1}}),
    ],
)
def test_a_function_is_a_task_with_the_arguments_of_its_config(config: Any, fields: Any) -> None:
    tasks = converted([{"id": "f", "type": "function", "config": config}], variables={"x": 1})
    assert tasks["f"] == {"task_id": "f", "operator_type": "task", "function": "tools.log.info", **fields}


def test_http_is_a_request_whose_body_is_json_unless_it_is_a_text() -> None:
    config = {"url": "https://example.org", "method": "POST", "headers": {"A": "b"}}
    for body, key in (({"a": 1}, "json"), ("a=1", "data")):
        tasks = converted([{"id": "h", "type": "http", "config": {**config, "payload": body}}])
        assert tasks["h"]["function"] == "tools.http.request"
        assert tasks["h"]["kwargs"] == {**config, key: body}


def test_output_is_the_result_of_the_node_before_or_of_each_of_several_by_id() -> None:
    tasks = converted([calc("a"), calc("b"), calc("c"), calc("d")], "a b", "b d", "c d")
    assert "output" not in tasks["a"]["kwargs"]
    assert tasks["b"]["kwargs"]["output"] == "{{a}}"
    assert tasks["d"]["kwargs"]["output"] == {"b": "{{b}}", "c": "{{c}}"}


def test_ctx_brings_the_values_that_the_expression_mentions_and_no_others() -> None:
    node = calc("c", "ctx.a + context['b-2'] + ctx.limit + size('ctx.nothing')")
    tasks = converted([calc("a"), calc("b-2"), calc("other"), node], "b-2 c", "other c", variables={"limit": 1})
    assert tasks["c"]["kwargs"]["context"] == {"a": "{{a}}", "b-2": "{{b-2}}", "limit": "{{limit}}"}


def test_ctx_as_a_whole_brings_everything_before_the_node() -> None:
    tasks = converted([calc("a"), calc("b"), calc("c", "size(ctx)"), calc("d")], "a b", "b c", "c d")
    assert tasks["c"]["kwargs"]["context"] == {"a": "{{a}}", "b": "{{b}}"}


def test_filter_and_aggregate_call_their_tools() -> None:
    tasks = converted(
        [
            {"id": "f", "type": "filter", "config": {"condition": "item.n > 1", "items": "output.rows"}},
            {"id": "g", "type": "aggregate", "config": {"strategy": "sum", "field": "n"}},
            {"id": "h", "type": "aggregate", "config": {"expression": "output.a + output.b"}},
        ],
        "f g",
    )
    assert tasks["f"]["kwargs"] == {"condition": "item.n > 1", "items": "output.rows"}
    assert tasks["g"]["kwargs"] == {"operation": "sum", "field": "n", "output": "{{f}}"}
    assert tasks["h"]["function"] == "tools.transform.map"


def test_policies_may_be_in_our_spelling_or_the_formats() -> None:
    tasks = converted(
        [
            calc("a", name="First", timeout_ms=1500, retry={"max_attempts": 5, "backoff_ms": 250}),
            calc("b", retry_policy={"max_retries": 1}, result_key="r", timeout_ms=0),
        ]
    )
    assert tasks["a"]["description"] == "First"
    assert tasks["a"]["timeout_seconds"] == 1.5
    assert tasks["a"]["retry_policy"] == {"max_attempts": 5, "delay": 0.25, "backoff_factor": 2.0}
    assert tasks["b"]["retry_policy"] == {"max_retries": 1}
    assert tasks["b"]["result_key"] == "r"
    assert "timeout_seconds" not in tasks["b"]


RULES = {
    "rules": [
        {"condition": "output > 9", "next_nodes": ["big", "log"]},
        {"condition": "output > 5", "next_nodes": "log"},
    ]
}


def test_a_conditional_is_a_chain_of_conditions() -> None:
    nodes = [calc("a"), {"id": "c", "type": "conditional", "config": RULES | {"default": ["small"]}}]
    tasks = converted([*nodes, calc("big"), calc("log"), calc("small")], "a c")
    assert tasks["c"] == {
        "task_id": "c",
        "operator_type": "condition",
        "condition": "cel: output > 9",
        "output_of": "a",
        "dependencies": ["a"],
        "if_true": ["big", "log"],
        "if_false": ["c.rule2"],
    }
    assert tasks["c.rule2"]["if_true"] == ["log"]
    assert tasks["c.rule2"]["if_false"] == ["small"]
    assert tasks["log"]["kwargs"]["output"] == "{{a}}", "a conditional passes on what came in"
    assert "dependencies" not in tasks["log"]


def test_edges_that_draw_the_rules_add_nothing_and_edges_with_conditions_add_rules() -> None:
    nodes = [calc("a"), {"id": "c", "type": "conditional", "config": RULES}, calc("big"), calc("log"), calc("rest")]
    tasks = converted(nodes, "a c", "c big", "c log", "c rest output == 1", "c log output == 1")
    assert tasks["c.rule3"]["condition"] == "cel: output == 1"
    assert set(tasks["c.rule3"]["if_true"]) == {"rest", "log"}
    assert "if_false" not in tasks["c.rule3"]


def test_conditions_are_read_in_the_spellings_of_the_format() -> None:
    for condition in ("output.ok", "$.ok", "cel: output.ok", "$output.ok", {"type": "cel", "expression": "$.ok"}):
        document = {"nodes": [calc("a"), calc("b")], "edges": [{"from": "a", "to": "b", "condition": condition}]}
        tasks = from_graph_document(document, Report())["tasks"]
        assert tasks["a.if.b"]["condition"] == "cel: output.ok"
    dollars = converted([calc("a"), calc("b")], "a b $context.price == '$.50'")["a.if.b"]["condition"]
    assert dollars == "cel: context.price == '$.50'"


def test_an_edge_with_a_condition_is_taken_for_itself() -> None:
    tasks = converted([calc("a"), calc("b"), calc("c")], "a b output > 1", "a c")
    assert tasks["a.if.b"] == {
        "task_id": "a.if.b",
        "operator_type": "condition",
        "condition": "cel: output > 1",
        "output_of": "a",
        "dependencies": ["a"],
        "if_true": ["b"],
    }
    assert tasks["c"]["dependencies"] == ["a"]


def test_two_conditions_between_the_same_nodes_are_one() -> None:
    tasks = converted([calc("a"), calc("b")], "a b output > 1 // big", "a b output < 0")
    assert tasks["a.if.b"]["condition"] == "cel: (output > 1 // big\n) || (output < 0\n)"


def test_where_a_condition_and_another_node_lead_to_the_same_node_a_relay_stands_between() -> None:
    tasks = converted([calc("a"), calc("b"), calc("c")], "a b output > 1", "a c output < 1", "b c")
    assert tasks["a.if.c"]["if_true"] == ["a.to.c"]
    assert tasks["a.to.c"]["condition"] == "true"
    assert tasks["c"]["dependencies"] == ["a.to.c", "b"]


def test_a_node_that_need_not_wait_for_all_runs_after_the_first_success() -> None:
    tasks = converted([calc("a"), calc("b"), calc("c", wait_for_all=False)], "a c", "b c")
    assert tasks["c"]["trigger_rule"] == "one_success"


LOOP = {"loop_back_to": "b", "condition": "output < 3"}


def loop_node(node_id: str = "l", **config: Any) -> Node:
    return {"id": node_id, "type": "loop", "config": LOOP | config}


def body_of(task: Mapping[str, Any]) -> list[str]:
    return [one["task_id"] for one in task["loop_body"]]


def test_a_loop_is_a_while_over_the_nodes_between_its_start_and_itself() -> None:
    nodes = [calc("a"), calc("b"), calc("c"), calc("d"), loop_node(max_iterations=7, break_path="after"), calc("after")]
    tasks = converted(nodes, "a b", "b c", "b d", "c l", "d l")
    loop = tasks["l"]
    assert {key: loop[key] for key in ("operator_type", "condition", "test_after", "dependencies", "output_of")} == {
        "operator_type": "while",
        "condition": "cel: output < 3",
        "test_after": True,
        "dependencies": ["a"],
        "output_of": "l-input",
    }
    assert loop["metadata"] == {"max_iterations": 7}
    assert body_of(loop) == ["b-input", "b", "c", "d", "l-input"]
    assert tasks["after"]["dependencies"] == ["l"]
    assert set(tasks) == {"a", "l", "after"}


def test_the_way_back_may_be_drawn_and_its_condition_may_stand_on_the_edge() -> None:
    node = {"id": "l", "type": "loop", "config": {"loop_back_to": "b"}}
    tasks = converted([calc("b"), node, calc("after")], "b l", "l b output < 3", "l after")
    assert tasks["l"]["condition"] == "cel: output < 3"
    assert tasks["after"]["dependencies"] == ["l"]


def test_a_function_with_loop_settings_keeps_its_id_inside_the_while() -> None:
    node = {"id": "f", "type": "function", "config": {"function": "tools.log.info", "message": "x"}}
    settings = {"loop_back_to": "f", "condition": "output == null", "break_path": ["after"]}
    tasks = converted([node | {"loop": settings}, calc("after", "ctx.f")])
    assert body_of(tasks["f.loop"]) == ["f"]
    assert tasks["f.loop"]["output_of"] == "f"
    assert tasks["after"]["dependencies"] == ["f.loop"]
    assert tasks["after"]["kwargs"]["output"] == "{{f}}"


def test_a_timeout_path_hangs_on_a_condition_after_the_while() -> None:
    nodes = [calc("b"), loop_node(max_iterations=4, break_path=["x"], timeout_path=["late"]), calc("x"), calc("late")]
    tasks = converted(nodes, "b l")
    assert tasks["l"]["condition"] == 'cel: (output < 3\n) && ctx["l-rounds"] < 4'
    assert tasks["l.ended"]["if_true"] == ["late"]
    assert tasks["l.ended"]["if_false"] == ["x"]
    assert tasks["l.ended"]["dependencies"] == ["l"]


def test_loops_stand_in_loops_and_branches_in_both() -> None:
    nodes = [
        calc("a"),
        calc("b"),
        loop_node("inner"),
        {"id": "c", "type": "conditional", "config": {"condition": "output > 2", "if_true": ["d"], "if_false": ["e"]}},
        calc("d"),
        calc("e"),
        {"id": "outer", "type": "loop", "config": {"loop_back_to": "a", "condition": "false"}},
    ]
    tasks = converted(nodes, "a b", "b inner", "inner c", "d outer", "e outer")
    assert set(tasks) == {"outer"}
    assert body_of(tasks["outer"]) == ["a-input", "a", "inner", "c", "d", "e", "outer-input"]
    inner = tasks["outer"]["loop_body"][2]
    assert body_of(inner) == ["b-input", "b"]


def test_ids_that_the_conversion_makes_give_way_to_those_of_the_document() -> None:
    nodes = [calc("b"), calc("b-input"), loop_node()]
    tasks = converted(nodes, "b-input b", "b l")
    assert body_of(tasks["l"]) == ["b-input-", "b"]
    assert tasks["l"]["loop_body"][0]["kwargs"]["first"] == "{{b-input}}"
