"""``cel:`` conditions: the extra behind them, what is bound, and that its errors come out as ours."""

from __future__ import annotations

import sys
import time
from typing import Any

import pytest

from highway_core.engine.data import DataView
from highway_core.engine.expressions import eval_condition, parse_condition, parse_switch
from highway_core.errors import ExpressionError

pytest.importorskip("cel")


def view(output: Any = None, **results: Any) -> DataView:
    return DataView({"limit": 3}, {}, results, {"score_task": {"n": 5}}, {}, extras={"output": output})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("cel: output.score >= 80", True),
        ("CEL:output.score < 80 || ctx.limit == 3", True),
        ("  cel: context.score_task.n > ctx.limit", True),
        ("cel: has(output.nothing)", False),
        ("cel: size(output.tags) == 2 && 'a' in output.tags", True),
        ("cel: ctx.results.report.id == 7", True),
        ("cel: output.tags.exists(t, t == 'b')", True),
    ],
)
def test_output_and_context_are_bound(text: str, value: bool) -> None:
    lookup = view({"score": 80.5, "tags": ["a", "b"]}, report={"id": 7})
    assert parse_condition(text).is_true(lookup) is value


def test_output_is_null_where_the_caller_binds_none() -> None:
    assert parse_condition("cel: output == null").is_true(DataView({}, {}, {}, {}, {}))


def test_a_cel_condition_says_which_of_the_two_it_needs() -> None:
    condition = parse_condition("cel: output.a > ctx.b && context.c")
    assert condition.is_cel
    assert [reference.text for reference in condition.references] == ["context", "output"]
    assert not parse_condition("{{cel}} == 1").is_cel


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cel: 1 +", "Syntax error"),
        ("cel:", "cel:"),
        ("cel: " + "(" * 4_000, "cel:"),
        ("cel: nope > 3", "'nope' is not known; there are output, context and ctx"),
        ("cel: " + "x" * 10_001, "may have 10,000 characters"),
        ("cel: " + "[1].map(x, " * 5 + "x" + ")" * 5, "may use 4 of"),
    ],
)
def test_what_is_no_cel_is_refused_when_it_is_parsed(text: str, words: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse_condition(text)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cel: output.missing > 3", "no such key: 'missing'"),
        ("cel: output.name + 1 == 2", "Unsupported operation"),
        ("cel: 1 / 0 == 1", "zero"),
        ("cel: 9223372036854775807 + output.one > 0", "overflow"),
        ("cel: [1].all(x, nope)", "nope"),
    ],
)
def test_what_fails_when_it_is_evaluated_is_an_expression_error(text: str, words: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse_condition(text).is_true(view({"name": "x", "one": 1}))
    assert words in str(caught.value)


def test_a_value_cannot_change_the_expression() -> None:
    attack = "' || true || '"
    assert not parse_condition("cel: output.status == 'APPROVED'").is_true(view({"status": attack}))


def test_a_pattern_cannot_backtrack() -> None:
    started = time.monotonic()
    assert not parse_condition("cel: output.matches('^(a+)+$')").is_true(view("a" * 5_000 + "!"))
    assert time.monotonic() - started < 1


def test_without_the_extra_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cel", None)
    with pytest.raises(ExpressionError, match=r"pip install 'highway-core\[cel\]'"):
        parse_condition("cel: output.unique_to_this_test")
    assert eval_condition("cel: true || 'unique' == ''") is False


def test_a_switch_may_be_cel() -> None:
    assert parse_switch("cel: output.kind").choose(view({"kind": "b"}), ["a", "b"]) == "b"
