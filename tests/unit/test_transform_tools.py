"""``tools.transform.*``: CEL over values, and what it says when they do not fit."""

from __future__ import annotations

from typing import Any

import pytest

from highway_core.errors import ExpressionError, TaskError
from highway_core.tools.registry import ToolRegistry
from highway_core.tools.transform import OPERATIONS, aggregate_items, filter_items, map_value, round_input, same_value

pytest.importorskip("cel")

ROWS = [{"n": 1, "order": {"price": 2.5}}, {"n": 4, "order": {"price": 1.5}}]


@pytest.mark.parametrize("name", ["map", "filter", "aggregate", "value", "round"])
def test_the_registry_finds_them_by_name(name: str) -> None:
    assert callable(ToolRegistry().get_function(f"tools.transform.{name}"))


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("output", ROWS),
        ("size(output) * 10", 20),
        ("output.map(row, row.n)", [1, 4]),
        ("{'first': output[0].n, 'limit': ctx.limit, 'same': context.limit}", {"first": 1, "limit": 3, "same": 3}),
    ],
)
def test_map_gives_the_value_of_an_expression(expression: str, value: Any) -> None:
    assert map_value(expression, output=ROWS, context={"limit": 3}) == value


def test_an_expression_about_nothing_needs_nothing() -> None:
    assert map_value("1 + 1") == 2


@pytest.mark.parametrize(
    ("condition", "kept"),
    [
        ("item.n > 1", [4]),
        ("item.n < size(output) && item.n < ctx.limit", [1]),
        ("true // and a comment", [1, 4]),
        ("item.order.price > 9.0", []),
    ],
)
def test_filter_keeps_what_the_condition_holds_for(condition: str, kept: list[int]) -> None:
    assert [row["n"] for row in filter_items(condition, output=ROWS, context={"limit": 3})] == kept


def test_filter_takes_its_list_from_inside_a_value() -> None:
    assert filter_items("item > 1", items="output.json.ids", output={"json": {"ids": [1, 2, 3]}}) == [2, 3]


@pytest.mark.parametrize(
    ("output", "words"),
    [({"a": 1}, "output is a mapping"), (None, "output is null"), ("abc", "output is a text"), (7, "output is 7")],
)
def test_filter_says_what_it_got_instead_of_a_list(output: Any, words: str) -> None:
    with pytest.raises(TaskError, match=words):
        filter_items("true", output=output)


def test_a_filter_condition_cannot_close_the_filter() -> None:
    with pytest.raises(ExpressionError, match="Syntax error"):
        filter_items("true) || (true", output=[1])


def test_a_filter_condition_that_is_no_condition_fails() -> None:
    with pytest.raises(TaskError, match="item is 7 for item 1, not a boolean"):
        filter_items("item", output=[True, 7])


def test_filter_gives_the_items_themselves() -> None:
    rows = [{"z": 2**80, "a": 1}, {"z": 1, "a": 2}]
    (kept,) = filter_items("item.a == 1", output=rows)
    assert kept is rows[0]


def test_map_gives_the_same_text_every_time() -> None:
    assert list(map_value("{'b': 1, 'a': {'d': 1, 'c': [{'f': 1, 'e': 2}]}}")) == ["a", "b"]
    assert str(map_value("{'d': 1, 'c': [{'f': 1, 'e': 2}]}")) == "{'c': [{'e': 2, 'f': 1}], 'd': 1}"


def test_a_round_begins_with_what_the_last_one_gave() -> None:
    assert round_input(1, first="a") == "a"
    assert round_input(2, first="a", again="b") == "b"
    assert round_input(3, first="a", again=None) is None
    assert same_value([1]) == [1]


def test_a_filter_over_many_items_converts_them_once() -> None:
    rows = [{"n": number} for number in range(4_000)]
    assert len(filter_items("item.n % 2 == 0", output=rows)) == 2_000


@pytest.mark.parametrize(
    ("operation", "field", "output", "value"),
    [
        ("count", None, ROWS, 2),
        ("sum", "n", ROWS, 5),
        ("sum", "order.price", ROWS, 4.0),
        ("min", "n", ROWS, 1),
        ("max", "n", ROWS, 4),
        ("average", "n", ROWS, 2.5),
        ("collect", "n", ROWS, [1, 4]),
        ("sum", None, {"a": 1, "b": None, "c": 2}, 3),
        ("merge", None, [{"a": 1, "b": 1}, {"b": 2}], {"a": 1, "b": 2}),
        ("concat", None, {"x": [1], "y": [], "z": [2, 3]}, [1, 2, 3]),
        ("sum", None, [], 0),
        ("average", None, [], None),
        ("max", None, [None], None),
    ],
)
def test_aggregate(operation: str, field: str | None, output: Any, value: Any) -> None:
    assert aggregate_items(operation, field=field, output=output) == value


def test_aggregate_takes_its_items_from_inside_a_value() -> None:
    assert aggregate_items("sum", items="ctx.rows.map(row, row.n)", context={"rows": ROWS}) == 5


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"operation": "median", "output": []}, "cannot 'median'; it can count, sum"),
        ({"operation": "sum", "output": ["1"]}, "numbers, not a text"),
        ({"operation": "max", "output": [True]}, "numbers, not True"),
        ({"operation": "merge", "output": [[1]]}, "mappings, not a list"),
        ({"operation": "concat", "output": [{}]}, "lists, not a mapping"),
        ({"operation": "sum", "field": "price", "output": [{"price": 1}, {"prise": 2}]}, "item 1 has no 'price'"),
        ({"operation": "sum", "output": 7}, "a list or a mapping, but output is 7"),
    ],
)
def test_aggregate_says_what_does_not_fit(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(TaskError, match=words):
        aggregate_items(**arguments)


def test_every_operation_leaves_its_input_alone() -> None:
    output = [{"a": 1}]
    for operation in ("count", "collect", "merge"):
        assert OPERATIONS[operation](output) is not output
    assert output == [{"a": 1}]
