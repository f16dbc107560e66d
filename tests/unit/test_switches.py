"""Switches: the text of a value, and the case that it chooses."""

from __future__ import annotations

from typing import Any

import pytest

from highway_core.engine.data import DataView
from highway_core.engine.expressions import parse_switch, switch_value
from highway_core.errors import ExpressionError

DATA: dict[str, Any] = {
    "status": "APPROVED",
    "count": 3,
    "price": 2.5,
    "yes": True,
    "nothing": None,
    "text_true": "True",
}


def view() -> DataView:
    return DataView(variables=DATA, inputs={}, results={}, outputs={}, memory={})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{{status}}", "APPROVED"),
        ("{{count}}", "3"),
        ("{{price}}", "2.5"),
        ("{{yes}}", "true"),
        ("{{nothing}}", "null"),
        ("{{missing}}", "null"),
        ("{{count}} > 2", "true"),
        ("{{count}} + 1", "4"),
        ("{{status}}-{{count}}", "APPROVED-3"),
        ("v{{count}}/x", "v3/x"),
        ("{{status}}{{missing}}", "APPROVEDnull"),
        ("'is {{status}}'", "is APPROVED"),
        ("word", "word"),
    ],
)
def test_a_switch_compares_the_text_of_its_value(text: str, value: str) -> None:
    assert switch_value(text, view()) == value


@pytest.mark.parametrize(
    ("text", "cases", "chosen"),
    [
        ("{{status}}", ["DENIED", "APPROVED"], "APPROVED"),
        ("{{status}}", ["approved"], None),
        ("{{yes}}", ["False", "True"], "True"),
        ("{{yes}}", ["True", "true"], "true"),
        ("{{nothing}}", ["None"], "None"),
        ("{{count}}", ["3"], "3"),
        ("{{missing}}", ["x"], None),
        ("{{text_true}}", ["true"], None),
    ],
)
def test_a_case_is_chosen_by_its_text_and_booleans_in_either_spelling(text: str, cases: list[str], chosen: str) -> None:
    assert parse_switch(text).choose(view(), cases) == chosen


def test_a_switch_that_cannot_be_read_is_refused_and_its_references_are_known() -> None:
    assert [reference.text for reference in parse_switch("{{a}}-{{b.c}}").references] == ["a", "b.c"]
    for text in ("variables.kind", "order {{id}}", "{{a}} = 5", "{{a|b}}-x"):
        with pytest.raises(ExpressionError):
            parse_switch(text)
