"""Results as JSON: plain ones as they are, others as pydantic encodes them, the rest refused with its place."""

import json
import math
from collections import OrderedDict, UserDict, deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from highway_core.errors import ResultError
from highway_core.utils.json_values import MAX_DEPTH, clean_text, dumps, is_deeper, loads, to_storable

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=30,
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.datetimes() | st.decimals(),
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(st.text() | st.integers() | st.booleans() | st.none() | st.floats(), inner)
        | st.sets(st.integers() | st.text())
    ),
    max_leaves=20,
)


class Colour(Enum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


class Word(StrEnum):
    YES = "yes"


class Point(NamedTuple):
    x: int
    y: int


@dataclass
class Order:
    number: int
    lines: Any


class Person(BaseModel):
    name: str
    born: date


class Evil:
    """Nothing of it may be called."""

    def __str__(self) -> str:
        raise SystemExit

    __repr__ = __str__

    def __reduce__(self) -> str:
        raise SystemExit


def stored(value: Any, max_bytes: int = 1_000_000) -> Any:
    plain, text = to_storable(value, max_bytes=max_bytes)
    assert json.loads(text) == plain
    return plain


def refused(value: Any, max_bytes: int = 1_000_000) -> str:
    with pytest.raises(ResultError) as caught:
        to_storable(value, max_bytes=max_bytes)
    return str(caught.value)


@given(PLAIN)
def test_a_plain_value_is_stored_as_it_is(value: Any) -> None:
    plain, text = to_storable(value, max_bytes=10**9)
    assert plain == value == loads(text)
    assert dumps(plain) == text


@given(ANYTHING)
def test_any_value_becomes_plain_json_or_is_refused_with_a_place(value: Any) -> None:
    try:
        plain, text = to_storable(value, max_bytes=10**9)
    except ResultError as error:
        assert "result" in str(error)
        return
    assert "\0" not in json.dumps(plain, ensure_ascii=False).encode().decode()
    assert json.loads(text, parse_constant=pytest.fail) == plain
    assert to_storable(plain, max_bytes=10**9) == (plain, text)


def test_the_stored_value_shares_nothing_with_the_result() -> None:
    value = {"users": [{"name": "Ada"}]}
    plain, _ = to_storable(value, max_bytes=1000)
    value["users"][0]["name"] = "Eve"
    assert plain == {"users": [{"name": "Ada"}]}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (datetime(2030, 1, 31, 12, tzinfo=UTC), "2030-01-31T12:00:00Z"),
        (timedelta(hours=1), "PT1H"),
        (b"\xff\x00", "_wA="),
        (Decimal("1.10"), "1.10"),
        (UUID(int=5), "00000000-0000-0000-0000-000000000005"),
        (Path("/data/x"), "/data/x"),
        (Colour.RED, "red"),
        (Level.HIGH, 3),
        (Word.YES, "yes"),
        (Point(1, 2), [1, 2]),
        ((1, (2,)), [1, [2]]),
        ({3, 1, 2}, [1, 2, 3]),
        (frozenset({"b", "a"}), ["a", "b"]),
        (range(3), [0, 1, 2]),
        (deque([1, 2]), [1, 2]),
        ({"b": 1, "a": 2}.keys(), ["b", "a"]),
        ({"b": 1}.values(), [1]),
        ({"b": 1}.items(), [["b", 1]]),
        ({2: "a", None: "b", True: "c", 1.5: "d"}, {"2": "a", "null": "b", "true": "c", "1.5": "d"}),
        ({Colour.RED: 1}, {"red": 1}),
        (OrderedDict(a=(1,)), {"a": [1]}),
        (UserDict(a=1), {"a": 1}),
        (MappingProxyType({"a": 1}), {"a": 1}),
        (Order(7, [date(2030, 1, 31), {1}]), {"number": 7, "lines": ["2030-01-31", [1]]}),
        ([Person(name="Ada", born=date(1815, 12, 10))], [{"name": "Ada", "born": "1815-12-10"}]),
    ],
)
def test_what_json_does_not_know_is_encoded(value: Any, expected: Any) -> None:
    plain = stored(value)
    assert plain == expected
    assert type(plain) is type(expected)


def test_a_generator_is_read_to_its_end() -> None:
    def rows() -> Iterator[int]:
        yield from (1, 2)

    assert stored({"rows": rows()}) == {"rows": [1, 2]}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (math.nan, "result cannot be stored: JSON has no NaN."),
        ({"users": [0, 0, 0, {"x": math.inf}]}, "result.users[3].x cannot be stored: JSON has no Infinity."),
        ((1, -math.inf), "result[1] cannot be stored: JSON has no -Infinity."),
        (Order(1, [math.nan]), "result.lines[0] cannot be stored: JSON has no NaN."),
        ("a\0b", "result cannot be stored: a NUL character at index 1."),
        ({"a b": "\0"}, "result['a b'] cannot be stored: a NUL character at index 0."),
        ({"\0": 1}, "a key of result cannot be stored: a NUL character at index 0."),
        (["ok", "\ud800"], "result[1] cannot be stored: half a surrogate pair (U+D800) at index 0."),
        ({"\udfff": 1}, "a key of result cannot be stored: half a surrogate pair (U+DFFF) at index 0."),
        ({"a": 10**4300}, "result.a cannot be stored: an integer of more than 4,300 digits."),
        ({10**4300: 1}, "a key of result cannot be stored: an integer of more than 4,300 digits."),
        ({math.nan: 1}, "a key of result cannot be stored: JSON has no NaN."),
        ({1: "a", "1": "b"}, "result['1'] cannot be stored: two keys of result have that text."),
        ({"x": {None: "a", "null": "b"}}, "result.x.null cannot be stored: two keys of result.x have that text."),
        ({"a": object()}, "result.a cannot be stored: no JSON form for type object ("),
        ([Evil()], "result[0] cannot be stored: no JSON form for type test_json_values.Evil ("),
        ({object(): 1}, "a key of result cannot be stored: no JSON form for type "),
        (Order(1, Evil()), "result cannot be stored: no JSON form for type test_json_values.Order ("),
        ({"a": json}, "result.a cannot be stored: no JSON form for type module ("),
        (lambda: 1, "result cannot be stored: no JSON form for type function ("),
    ],
    ids=lambda value: value[:60] if isinstance(value, str) and value.isprintable() else "value",
)
def test_what_cannot_be_stored_is_refused_with_its_place(value: Any, message: str) -> None:
    assert message in refused(value).replace("tests.unit.", "")


def test_an_integer_of_4300_digits_is_stored() -> None:
    assert stored(10**4299) == 10**4299


def test_a_text_that_only_looks_like_an_escape_is_stored() -> None:
    assert stored("\\u0000 and \\ud800") == "\\u0000 and \\ud800"


def test_a_value_that_contains_itself_is_refused() -> None:
    loop: list[Any] = [1]
    loop.append({"again": loop})
    assert refused(loop) == "result[1].again contains itself and cannot be stored."
    order = Order(1, None)
    order.lines = order
    assert "no JSON form" in refused(order)


def test_the_same_list_twice_is_no_loop() -> None:
    shared = (1, 2)
    assert stored([shared, shared]) == [[1, 2], [1, 2]]


def nested(levels: int) -> Any:
    value: Any = []
    for _ in range(levels - 1):
        value = {"a": value} if levels % 2 else [value]
    return value


@pytest.mark.parametrize("extra", [0, 1])
def test_the_deepest_value_is_stored_and_one_level_more_is_refused(extra: int) -> None:
    assert stored(nested(MAX_DEPTH - extra)) == nested(MAX_DEPTH - extra)
    assert "nested more than 200 levels deep" in refused(nested(MAX_DEPTH + 1 + extra))


@pytest.mark.parametrize("levels", [1_000, 10_000, 100_000])
def test_however_deep_a_value_is_it_is_refused_with_a_short_message(levels: int) -> None:
    assert len(refused(nested(levels))) < 400


def test_a_wide_value_is_not_a_deep_one() -> None:
    assert stored([[[]]] * 1000) == [[[]]] * 1000


@given(PLAIN)
def test_depth_is_counted_in_levels_of_containers(value: Any) -> None:
    def depth(node: Any) -> int:
        inner = node.values() if isinstance(node, dict) else node if isinstance(node, list) else None
        return 0 if inner is None else 1 + max(map(depth, inner), default=0)

    assert not is_deeper(value, depth(value))
    if depth(value):
        assert is_deeper(value, depth(value) - 1)


@pytest.mark.parametrize("value", ["x" * 98, "é" * 49, [0] * 49 + [10]])
def test_the_limit_counts_bytes_of_json(value: Any) -> None:
    size = len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())
    assert stored(value, max_bytes=size) == value
    assert "result is" in refused(value, max_bytes=size - 1)


def test_a_result_that_is_too_large_says_how_large_and_what_to_do() -> None:
    assert refused("x" * 5000, max_bytes=1000) == (
        "result is 5,002 bytes as JSON and the limit is 1,000 bytes: "
        "store it elsewhere and return where it is, or raise HIGHWAY_MAX_RESULT_BYTES."
    )


def test_a_range_that_is_too_long_is_not_written_out() -> None:
    assert "result.ids is 1,000,000,000,000 items long" in refused({"ids": range(10**12)})


def test_the_place_begins_with_the_name_of_the_value() -> None:
    with pytest.raises(ResultError, match=r"^payload\.x cannot be stored"):
        to_storable({"x": math.nan}, max_bytes=100, name="payload")


def test_an_error_text_is_made_storable() -> None:
    assert clean_text("a\0b\ud800c") == "a\ufffdb\ufffdc"


def test_a_short_error_text_stays_as_it_is() -> None:
    assert clean_text("exit code 1: é 😀\n\x1b") == "exit code 1: é 😀\n\x1b"


def test_a_long_error_text_is_cut_with_a_mark() -> None:
    cut = clean_text("x" * 1_000_000, limit=100)
    assert cut == "x" * 76 + "… (1,000,000 characters)"
    assert len(clean_text("\ud800" * 1_000_000)) == 8_000


@given(st.text(), st.integers(30, 100))
def test_a_cleaned_text_is_within_the_limit_and_utf8(text: str, limit: int) -> None:
    cleaned = clean_text(text * 5, limit)
    assert len(cleaned) <= limit
    assert "\0" not in cleaned.encode().decode()


@pytest.mark.parametrize("value", [math.nan, object(), {1, 2}])
def test_dumps_takes_plain_values_only(value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        dumps(value)
