"""What a task sees: the order in which a name is looked for, and what an unknown one is told."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from highway_core.engine.data import DataView, LoopFrame
from highway_core.engine.references import MISSING, parse_reference
from highway_core.errors import UnknownReferenceError


def view(**given: Any) -> DataView:
    empty: dict[str, Any] = {"variables": {}, "inputs": {}, "results": {}, "outputs": {}, "memory": {}}
    return DataView(**(empty | given))


def find(path: str, **given: Any) -> Any:
    return view(**given).find(parse_reference(path))


def refusal(path: str, **given: Any) -> str:
    with pytest.raises(UnknownReferenceError) as caught:
        view(**given).lookup(parse_reference(path))
    return str(caught.value)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("variables.x", "variable"),
        ("inputs.x", "input"),
        ("inputs.only_variable", 1),
        ("results.x", "result"),
        ("memory.x", "remembered"),
        ("run.id", "r1"),
        ("run.name", "demo"),
        ("run.mode", "LOCAL"),
        ("ds", "2025-03-04"),
        ("workflow_run_id", "r1"),
        ("secrets.TOKEN", "secret TOKEN"),
        ("env.HOME", "env HOME"),
        ("ENV.HOME", "env HOME"),
        ("variables", {"x": "variable", "only_variable": 1}),
        ("memory.list[1].a", 5),
    ],
)
def test_each_namespace_gives_its_own(path: str, value: Any) -> None:
    found = find(
        path,
        variables={"x": "variable", "only_variable": 1},
        inputs={"x": "input"},
        results={"x": "result"},
        memory={"x": "remembered", "list": [0, {"a": 5}]},
        run={"id": "r1", "name": "demo", "mode": "LOCAL", "started_at": "2025-03-04T23:59:00+00:00"},
        secret=lambda name: f"secret {name}",
        env=lambda name: f"env {name}",
    )
    assert found == value


def test_a_bare_name_is_looked_for_in_the_documented_order() -> None:
    sources = [
        ("extras", {"extras": {"name": "extras"}}),
        ("loop", {"loops": [LoopFrame("each", "loop", 0)]}),
        ("results", {"results": {"name": "results", "item": "results"}}),
        ("outputs", {"outputs": {"name": "outputs", "item": "outputs"}}),
        ("variables", {"variables": {"name": "variables", "item": "variables"}}),
        ("inputs", {"inputs": {"name": "inputs", "item": "inputs"}}),
    ]
    for position, (expected, _) in enumerate(sources):
        rest: dict[str, Any] = {}
        for _, mapping in sources[position:]:
            rest |= mapping
        assert find("item" if expected == "loop" else "name", **rest) == expected


def test_the_first_that_knows_the_name_decides_even_if_it_lacks_a_later_step() -> None:
    assert find("report.id", results={"report": {}}, variables={"report": {"id": 1}}) is MISSING


@pytest.mark.parametrize("path", ["fetch", "fetch.output", "fetch.payload"])
def test_a_tasks_result_is_reached_by_its_id(path: str) -> None:
    assert find(path, outputs={"fetch": {"a": 1}}) == {"a": 1}
    assert find(f"{path}.a", outputs={"fetch": {"a": 1}}) == 1


def test_a_result_that_has_a_key_called_output_gives_that_key() -> None:
    assert find("fetch.output", outputs={"fetch": {"output": 5}}) == 5


def test_the_task_id_works_where_a_result_key_has_the_same_name() -> None:
    given: dict[str, Any] = {"results": {"fetch": {"a": 1}}, "outputs": {"fetch": {"a": 1}}}
    assert find("fetch.output.a", **given) == 1
    assert find("fetch.a", **given) == 1
    assert find("report.output", results={"report": {"a": 1}}) is MISSING


def test_a_branch_task_that_is_taken_twice_is_reached_by_its_long_id() -> None:
    outputs = {"fork.left.fetch": {"a": 1}, "fork.right.fetch": {"a": 2}}
    assert find("fork.left.fetch.a", outputs=outputs) == 1
    assert find("fork.right.fetch.output.a", outputs=outputs) == 2
    with_operator = {**outputs, "fork": {"left": {"status": "completed"}}}
    assert find("fork.left.fetch.a", outputs=with_operator) == 1
    assert find("fork.left.status", outputs=with_operator) == "completed"
    assert find("fork.left.fetch.a", nullable={"fork.left.fetch"}) is None


def test_loop_variables_are_those_of_the_innermost_loop_and_outer_ones_are_reached_by_id() -> None:
    loops = [LoopFrame("users", {"name": "ann"}, 1), LoopFrame("pages", "p7", 6)]
    expected = {
        "item": "p7",
        "current_item": "p7",
        "index": 6,
        "iteration": 7,
        "loop_context.item": "p7",
        "loop_context.index": 6,
        "pages.item": "p7",
        "users.item.name": "ann",
        "users.index": 1,
        "users.iteration": 2,
    }
    assert {path: find(path, loops=loops) for path in expected} == expected


def test_a_while_counts_its_turns_and_leaves_the_item_of_the_loop_around_it() -> None:
    loops = [LoopFrame("each", "a", 4), LoopFrame("poll", index=2)]
    assert find("item", loops=loops) == "a"
    assert find("index", loops=loops) == 2
    assert find("iteration", loops=loops) == 3
    assert find("poll.item", loops=loops) is MISSING


def test_an_item_may_be_null() -> None:
    assert view(loops=[LoopFrame("each", None, 0)]).lookup(parse_reference("item")) is None


def test_outside_of_a_loop_item_is_a_name_like_any_other() -> None:
    assert find("item.a", variables={"item": {"a": 1}}) == 1


def test_a_result_called_like_a_namespace_is_found_where_the_namespace_has_no_such_name() -> None:
    given: dict[str, Any] = {
        "results": {"results": {"stdout": "hi"}, "run": {"ok": True}},
        "variables": {"env": "prod"},
    }
    assert find("results.stdout", **given) == "hi"
    assert find("run.ok", **given) is True
    assert find("env", **given) == "prod"


def test_what_a_skipped_task_would_have_produced_is_null_all_the_way_down() -> None:
    skipped: dict[str, Any] = {"nullable": {"report", "fetch"}, "variables": {"report": "default"}}
    for path in ("report", "report.id", "results.report", "results.report.id.x", "fetch.output.a", "fetch.a[3]"):
        assert find(path, **skipped) is None
        assert view(**skipped).lookup(parse_reference(path)) is None
    assert find("report.id", results={"report": {"id": 1}}, nullable={"report"}) == 1


def test_the_date_of_a_run_is_that_of_its_start_unless_it_carries_another() -> None:
    assert find("ds", run={"started_at": datetime(2024, 2, 29, 12, tzinfo=UTC)}) == "2024-02-29"
    assert find("ds", run={"ds": "2020-01-01", "started_at": "2024-02-29"}) == "2020-01-01"
    assert find("ds", variables={"ds": "mine"}) == "mine"


def test_an_unknown_name_is_told_the_nearest_and_all_that_exist() -> None:
    text = refusal(
        "reprot.id",
        results={"report": {}},
        outputs={"make_report": {}},
        variables={"limit": 1},
        loops=[LoopFrame("each", 1, 0)],
        extras={"failed_task_id": "x"},
    )
    assert text == (
        "{{reprot.id}}: nothing in this run is called 'reprot' (did you mean 'report'?). It has here: current_item, "
        "each, failed_task_id, index, item, iteration; results: report; tasks: make_report; variables: limit."
    )


def test_an_unknown_name_in_an_empty_run_says_so() -> None:
    assert refusal("x") == "{{x}}: nothing in this run is called 'x'. It has no names at all."


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("report.idd", "'report' has no 'idd' (did you mean 'id'?); it has id, items"),
        ("report.items[3]", "'report.items' is a list of 2 and has no '3'"),
        ("report.items.x", "'report.items' is a list of 2 and has no 'x'"),
        ("report.id.x", "'report.id' is a number and has no 'x'"),
        ("report.items.0.x", "'report.items.0' is null and has no 'x'"),
        ("variables.limt", "'variables' has no 'limt' (did you mean 'limit'?); it has limit"),
        ("inputs.limt", "'inputs' has no 'limt' (did you mean 'limit'?); it has limit"),
        ("memory.x", "'memory' has no 'x'; it has nothing"),
        ("secrets.TOKEN", "there is no secret 'TOKEN'; it is read from HIGHWAY_SECRET_TOKEN"),
        ("env.HOME", "'HOME' is not set, or HIGHWAY_ENV_ALLOWED does not list it"),
    ],
)
def test_a_missing_step_is_named_with_what_exists_there(path: str, words: str) -> None:
    assert words in refusal(path, results={"report": {"id": 1, "items": [None, 2]}}, variables={"limit": 1})


def test_a_long_list_of_names_is_cut() -> None:
    text = refusal("zzz", variables={f"v{number:03}": 1 for number in range(500)})
    assert "v000, v001" in text
    assert text.endswith("and 480 more.")


def test_the_value_itself_is_found_and_not_a_copy() -> None:
    data = {"a": [1]}
    assert find("variables.x", variables={"x": data}) is data


def test_the_context_for_cel_has_bare_names_and_namespaces_but_no_secrets() -> None:
    context = view(
        variables={"v": 1, "both": "variable"},
        inputs={"i": 2},
        results={"r": 3, "both": "result"},
        outputs={"t": 4},
        loops=[LoopFrame("each", "x", 0)],
        secret=lambda name: "hidden",
    ).context()
    assert {"v": 1, "i": 2, "r": 3, "t": 4, "both": "result", "item": "x", "index": 0}.items() <= context.items()
    assert context["results"] == {"r": 3, "both": "result"}
    assert "hidden" not in str(context)
