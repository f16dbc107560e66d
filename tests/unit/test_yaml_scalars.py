"""Scalars of YAML documents: the types of YAML 1.2, and text wherever an older rule would guess."""

import math
from typing import Any

import pytest

from highway_core.engine.yaml_reader import read_yaml
from highway_core.errors import DocumentError


def value_of(scalar: str) -> Any:
    return read_yaml(f"key: {scalar}\n").data["key"]


@pytest.mark.parametrize(
    ("scalar", "expected"),
    [
        *[(word, True) for word in ("true", "True", "TRUE")],
        *[(word, False) for word in ("false", "False", "FALSE")],
        *[(word, None) for word in ("", "~", "null", "Null", "NULL")],
        ("0", 0),
        ("-17", -17),
        ("+5", 5),
        ("0x1F", 31),
        ("0o17", 15),
        ("1.5", 1.5),
        ("-.5", -0.5),
        ("3.", 3.0),
        ("1.0e3", 1000.0),
        ("1.0e+3", 1000.0),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        ("9" * 4300, int("9" * 4300)),
    ],
)
def test_a_plain_scalar_has_its_yaml_1_2_type(scalar: str, expected: Any) -> None:
    value = value_of(scalar)
    assert value == expected
    assert type(value) is type(expected)


def test_nan_is_read() -> None:
    assert math.isnan(value_of(".nan"))


@pytest.mark.parametrize(
    "scalar",
    [
        *("no", "on", "off", "yes", "y", "n", "No", "tRUE", "nULL"),
        *("1:30", "09:30:00", "012", "-012", "08", "0b101", "1_000", "0x", "0o8", "1e3", "12e5678", "+", "-.", "."),
        *("2030-01-31", "2030-01-31T12:00:00Z", "2030-01-31 12:00:00", "PT5S", "1.2.3", "inf", "nan", "NaN", "=", "<<"),
        *("hello", "tools.log.info", "é", "a b", "-0x1F"),
    ],
)
def test_other_plain_scalars_stay_the_text_that_they_are(scalar: str) -> None:
    assert value_of(scalar) == scalar


@pytest.mark.parametrize("scalar", ["true", "12", "1.5", "null", "~", "", "0x1F"])
def test_a_quoted_scalar_is_always_text(scalar: str) -> None:
    assert value_of(f"'{scalar}'") == scalar
    assert value_of(f'"{scalar}"') == scalar


@pytest.mark.parametrize(
    ("scalar", "expected"),
    [
        ("!!str 12", "12"),
        ("! 12", "12"),
        ("!!int '12'", 12),
        ("!!float 3", 3.0),
        ("!!float 0x1F", 31.0),
        ("!!float .inf", math.inf),
        ("!!bool true", True),
        ("!!null ''", None),
    ],
)
def test_a_standard_tag_says_the_type(scalar: str, expected: Any) -> None:
    value = value_of(scalar)
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("1", "1"),
        ("yes", "yes"),
        ("true", "true"),
        ("null", "null"),
        ("~", "~"),
        ("1.50", "1.50"),
        ("'<<'", "<<"),
        ("!!int 1", "1"),
    ],
)
def test_a_key_is_the_text_that_is_written_there(key: str, expected: str) -> None:
    assert read_yaml(f"cases:\n  {key}: x\n").data == {"cases": {expected: "x"}}


@pytest.mark.parametrize(
    ("scalar", "message"),
    [
        ("9" * 4301, "an integer of more than 4,300 digits"),
        ("-" + "9" * 4301, "an integer of more than 4,300 digits"),
        ("0x" + "f" * 4300, "an integer of more than 4,300 digits"),
        ("1.0e999", "a number too large for a float"),
        ("!!float " + "9" * 400, "a number too large for a float"),
        ("!!int x", "the tag !!int does not fit this value"),
        ("!!int true", "the tag !!int does not fit this value"),
        ('"\\0"', "an escape stands for NUL or half a surrogate pair, which cannot be stored"),
        ("!!python/object/apply:os.system ['true']", "the tag !!python/object/apply:os.system is refused"),
        ("!!python/tuple [1]", "the tag !!python/tuple is refused"),
        ("!!binary aGk=", "the tag !!binary is refused"),
        ("!!timestamp 2030-01-31", "the tag !!timestamp is refused"),
        ("!!set {a}", "the tag !!set is refused"),
        ("!mine {a: 1}", "the tag !mine is refused"),
    ],
)
def test_a_value_that_no_document_may_hold_is_refused(scalar: str, message: str) -> None:
    with pytest.raises(DocumentError) as caught:
        read_yaml(f"a: 1\nkey: {scalar}\n", "flow.yaml")
    assert str(caught.value).startswith(f"flow.yaml:2:6 key: {message}")
