"""WorkflowState: the surface of the existing library over the engine's one look-up."""

from __future__ import annotations

from typing import Any

import pytest

from highway_core.engine.state import WorkflowState
from highway_core.errors import ExpressionError, UnknownReferenceError


@pytest.fixture
def state() -> WorkflowState:
    state = WorkflowState({"name": "ann", "nested": {"a": {"b": 1}}, "both": "variable", "flag": True})
    state.set_result("report", {"id": 7, "lines": [{"sum": 2.5}]})
    state.set_result("both", "result")
    state.memory["counter"] = {"n": 3}
    return state


def test_variables_are_copied_deeply() -> None:
    variables: dict[str, Any] = {"list": [1]}
    state = WorkflowState(variables)
    variables["list"].append(2)
    assert state.get_variable("list") == [1]
    assert WorkflowState.create_initial(variables).variables == {"list": [1, 2]}


def test_a_state_starts_empty_and_survives_being_written_and_read_back(state: WorkflowState) -> None:
    assert WorkflowState().model_dump() == {"variables": {}, "results": {}, "memory": {}, "loop_context": {}}
    assert WorkflowState(**state.model_dump()) == state
    assert WorkflowState.model_validate_json(state.model_dump_json()) == state


def test_results_and_variables_are_set_and_got_and_missing_ones_are_none(state: WorkflowState) -> None:
    state.set_variable("x", 1)
    assert state.get_variable("x") == 1
    assert state.get_result("report")["id"] == 7
    assert state.get_variable("nope") is None
    assert state.get_result("nope") is None


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("variables.name", "ann"),
        (" variables.nested.a.b ", 1),
        ("results.report.id", 7),
        ("results.report.lines.0.sum", 2.5),
        ("report.lines[0].sum", 2.5),
        ("report.lines.length", 1),
        ("memory.counter.n", 3),
        ("inputs.name", "ann"),
        ("report", {"id": 7, "lines": [{"sum": 2.5}]}),
        ("both", "result"),
        ("variables.both", "variable"),
        ("nested.a", {"b": 1}),
        ("item", None),
        ("variables.nope", None),
        ("variables.name.x", None),
        ("report.id.x", None),
        ("nope", None),
        ("", None),
        ("a..b", None),
        ("variables.name.__class__", None),
    ],
)
def test_a_path_leads_to_its_value_or_to_none(state: WorkflowState, path: str, value: Any) -> None:
    assert state.get_value_from_path(path) == value


def test_the_loop_item_comes_first(state: WorkflowState) -> None:
    state.set_variable("item", "variable")
    assert state.get_value_from_path("item") == "variable"
    state.loop_context = {"item": {"id": 4}, "index": 2, "custom": "c"}
    assert state.get_value_from_path("item.id") == 4
    assert state.get_value_from_path("loop_context.item.id") == 4
    assert state.get_value_from_path("current_item.id") == 4
    assert state.get_value_from_path("index") == 2
    assert state.get_value_from_path("custom") == "c"


@pytest.mark.parametrize(
    ("data", "resolved"),
    [
        ("{{ report.id }}", 7),
        ("{{report}}", {"id": 7, "lines": [{"sum": 2.5}]}),
        ("{{flag}}", True),
        ("id {{report.id}}, {{flag}}, {{ name }}", "id 7, True, ann"),
        ("{{nested.a}}!", '{"b": 1}!'),
        (
            ["{{report.id}}", {"{{name}}": "{{name}}"}, 5, None, ("{{name}}",)],
            [7, {"{{name}}": "ann"}, 5, None, ("{{name}}",)],
        ),
        ("{{ nope }}", "{{ nope }}"),
        ("{{name}} and {{ nope.x }}", "ann and {{ nope.x }}"),
        ("{{name}} {{name|upper}} {{", "ann {{name|upper}} {{"),
        ("plain", "plain"),
        (5, 5),
    ],
)
def test_templating_fills_in_what_it_knows_and_leaves_the_rest_as_it_is(
    state: WorkflowState, data: Any, resolved: Any
) -> None:
    assert state.resolve_templating(data) == resolved


def test_a_null_that_exists_is_null_and_not_an_unresolved_marker(state: WorkflowState) -> None:
    state.set_result("empty", None)
    assert state.resolve_templating("{{empty}}") is None
    assert state.resolve_templating("<{{empty}}>") == "<None>"


def test_a_value_that_looks_like_a_template_is_not_resolved_again(state: WorkflowState) -> None:
    state.set_variable("secret", "s3cret")
    state.set_result("evil", "{{variables.secret}}")
    for strict in (False, True):
        assert state.resolve_templating(["{{evil}}", "x {{evil}}"], strict=strict) == [
            "{{variables.secret}}",
            "x {{variables.secret}}",
        ]


def test_strict_templating_refuses_what_is_unknown_or_cannot_be_read(state: WorkflowState) -> None:
    assert state.resolve_templating({"a": "{{report.id}}"}, strict=True) == {"a": 7}
    with pytest.raises(UnknownReferenceError, match=r"\{\{reprot\.id\}\}.*did you mean 'report'"):
        state.resolve_templating("{{reprot.id}}", strict=True)
    with pytest.raises(ExpressionError, match="uses a filter"):
        state.resolve_templating("{{name | upper}}", strict=True)
