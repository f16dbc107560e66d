"""The JSON reader: what JSON forbids or no store takes is refused, all of it at once, with its position."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from highway_core.engine.source_document import MAX_BYTES, MAX_DEPTH, MAX_NODES, MAX_PROBLEMS
from highway_core.engine.yaml_reader import read_json
from highway_core.errors import DocumentError

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=10,
)
DOCUMENTS = st.dictionaries(TEXT, VALUES, max_size=5)


def problems(text: str | bytes) -> list[str]:
    with pytest.raises(DocumentError) as caught:
        read_json(text, "flow.json")
    return [str(problem) for problem in caught.value.problems]


@given(DOCUMENTS, st.booleans(), st.sampled_from([None, 0, 2]))
def test_what_json_writes_is_read_back(document: dict[str, Any], ascii_only: bool, indent: int | None) -> None:
    text = json.dumps(document, ensure_ascii=ascii_only, indent=indent)
    assert read_json(text).data == document
    assert read_json(text.encode()).data == document


@given(DOCUMENTS)
def test_a_position_is_where_its_key_or_item_is_written(document: dict[str, Any]) -> None:
    text = json.dumps({"top": document}, indent=1)
    read = read_json(text, "f.json")

    def check(value: Any, place: list[str | int]) -> None:
        _, line, column = read.position(place).split(":")
        rest = text.split("\n")[int(line) - 1][int(column) - 1 :]
        if place and isinstance(place[-1], str):
            assert rest.startswith(json.dumps(place[-1]) + ":")
        elif isinstance(value, dict | list):
            assert rest[0] in "{["
        else:
            assert rest.rstrip(",") == json.dumps(value)
        for key, item in (
            value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        ):
            check(item, [*place, key])

    check(read.data, [])


@given(st.text('{}[]:,"\\ntrue1.5eE-+ u0d8', max_size=40).map(lambda text: '{"a":' + text + "}"))
def test_it_reads_nothing_that_json_refuses(text: str) -> None:
    try:
        data = read_json(text).data
    except DocumentError:
        return
    assert data == json.loads(text, parse_constant=pytest.fail)


@pytest.mark.parametrize(
    ("place", "position"),
    [
        ([], "1:1"),
        (["tasks", "a", "args", 1], "3:14"),
        (["tasks", "a", "args", 9], "3:2"),
        (["tasks", "b", "x"], "2:1"),
        (["tasks", "a", "args", 1, "deeper"], "3:14"),
    ],
)
def test_a_position_is_that_of_the_nearest_piece_that_exists(place: list[str | int], position: str) -> None:
    assert read_json('{\n"tasks": {"a": {\n "args": [0, "x"]}}}', "f.json").position(place) == f"f.json:{position}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "flow.json:1:1: the document is empty"),
        ("[1]", "flow.json:1:1: the document is a list"),
        ('"x"', 'flow.json:1:1: the document is the value "x"'),
        ("null", "flow.json:1:1: the document is the value null"),
        ('{"a": 1,\n b: 2}', "flow.json:2:2: this is not JSON: Expecting property name"),
        ('{"a": "open', "flow.json:1:7: this is not JSON: Unterminated string"),
        ('{"a": "\t"}', "flow.json:1:8: this is not JSON: Invalid control character"),
        ("{} {}", "flow.json:1:4: this is not JSON: Extra data"),
        ("{'a': 1}", "flow.json:1:2: this is not JSON: Expecting property name"),
        ('{"a": NaN}', "flow.json:1:7 a: JSON has no NaN"),
        ('{"a": [1, -Infinity]}', "flow.json:1:11 a[1]: JSON has no -Infinity"),
        ('{"a": 1e999}', "flow.json:1:7 a: a number too large for a float"),
        ('{"a": -1E+999}', "flow.json:1:7 a: a number too large for a float"),
        ('{"a": -' + "9" * 4301 + "}", "flow.json:1:7 a: an integer of more than 4,300 digits"),
        ('{"a": "\\u0000"}', "flow.json:1:7 a: an escape stands for NUL or half a surrogate pair"),
        ('{"\\ud800": 1}', "flow.json:1:2: an escape stands for NUL or half a surrogate pair"),
        ('{"a": "\0"}', "flow.json:1:8: a NUL character does not belong in a document"),
        (b'{"a": "\xff"}', "flow.json:1:8: the document is not UTF-8: byte 0xff"),
        (b" " * (MAX_BYTES + 1), "flow.json:1:1: the document is larger than 32 MiB"),
        ('{"a": [' + "1," * MAX_NODES + "1]}", "flow.json:1:2000004 a[999998]: more than 1,000,000 values"),
    ],
    ids=lambda value: repr(value[:30]),
)
def test_a_document_that_cannot_be_read_is_refused_with_its_position(text: str | bytes, message: str) -> None:
    (found,) = problems(text)
    assert found.startswith(message)


def test_every_problem_is_reported_in_document_order() -> None:
    assert problems('{"a": 1, "b": {"c": NaN, "c": 2},\n "a": [{"\\u0061": 1e999, "a": 2}]}') == [
        "flow.json:1:21 b.c: JSON has no NaN",
        "flow.json:1:26 b.c: the key 'c' is there twice, first on line 1",
        "flow.json:2:2 a: the key 'a' is there twice, first on line 1",
        "flow.json:2:19 a[0].a: a number too large for a float",
        "flow.json:2:26 a[0].a: the key 'a' is there twice, first on line 2",
    ]


def test_reading_stops_when_there_are_too_many_problems() -> None:
    found = problems("{" + ",".join(['"a": 1'] * 10_000) + "}")
    assert len(found) == MAX_PROBLEMS + 1
    assert found[-1] == "too many problems, the rest was not read"


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ('{"a": "\\ud83d\\ude00"}', {"a": "😀"}),
        ('{"a": "\\\\u0000"}', {"a": "\\u0000"}),
        ('{"a": -' + "9" * 4300 + "}", {"a": -int("9" * 4300)}),
        ('\ufeff{"a": "\x7f\u2028"}', {"a": "\x7f\u2028"}),
        ('{"": {"": ","}}', {"": {"": ","}}),
    ],
    ids=["surrogate pair", "escaped backslash", "4300 digits", "unusual characters", "empty keys"],
)
def test_what_only_looks_refused_is_read(text: str, data: Any) -> None:
    assert read_json(text).data == data


def test_commas_inside_of_a_text_are_no_values() -> None:
    assert read_json('{"a": "' + "," * (MAX_NODES + 1) + '"}').data["a"][0] == ","


def test_the_deepest_document_is_read_and_one_level_more_is_refused() -> None:
    assert read_json('{"a":' + "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1) + "}").data
    (found,) = problems('{"a":' + "[" * MAX_DEPTH + "]" * MAX_DEPTH + "}")
    assert found.startswith(f"flow.json:1:{MAX_DEPTH + 5} a[0][0]")
    assert found.endswith(f"nested more than {MAX_DEPTH} levels deep")


@pytest.mark.parametrize("start", ["[", '{"a":'])
def test_however_deep_a_document_is_it_is_refused(start: str) -> None:
    (found,) = problems('{"a":' + start * 100_000)
    assert "levels deep" in found
