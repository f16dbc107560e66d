"""What pydantic has against a value, in our words: what was expected, and what was given instead.

The one place that knows pydantic's kinds of errors; documents and the bodies of requests are told of theirs by it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from highway_core.engine.source_document import shortened

UNKNOWN = "extra_forbidden"
MISSING = "missing"
_OWN_WORDS = "value_error"
"""A validator of ours has spoken."""

_TEXT, _WHOLE, _NUMBER, _MAPPING = "a text", "a whole number", "a number", "a mapping"
_MOMENT = "a moment such as 2030-01-31T09:00:00Z"
_EXPECTED: Mapping[str, str] = {
    "string_type": _TEXT,
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_parsing_size": _WHOLE,
    "int_from_float": _WHOLE,
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "dict_type": _MAPPING,
    "model_type": _MAPPING,
    "model_attributes_type": _MAPPING,
    "list_type": "a list",
    "datetime_type": _MOMENT,
    "datetime_parsing": _MOMENT,
    "datetime_from_date_parsing": _MOMENT,
    "greater_than": "above {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "below {lt}",
    "less_than_equal": "at most {le}",
    "string_too_long": "a text of at most {max_length} characters",
    "string_pattern_mismatch": "a text that matches {pattern}",
    "too_short": "a list of {min_length} or more",
    "too_long": "a list of {max_length} or fewer",
    "enum": "{expected}",
    "literal_error": "{expected}",
}
_PREFIXES = ("Value error, ", "Input should be ")


@dataclass(frozen=True, slots=True)
class WrongField:
    """One thing that is wrong."""

    place: tuple[str | int, ...]
    """As far as the data go."""
    kind: str
    name: str
    """Of what is missing or unknown."""
    message: str
    """``must be a whole number, not 'high'``."""


def wrong_fields(error: ValidationError, data: Any) -> list[WrongField]:
    """Everything that ``error`` says of ``data``; of a field that might be of several kinds, that once."""
    found: dict[tuple[Any, ...], list[Any]] = {}
    for one in error.errors(include_url=False):
        *loc, last = one["loc"] or ("",)
        name = str(last) if one["type"] in {MISSING, UNKNOWN} else ""
        place = _existing(loc if one["type"] == MISSING else one["loc"], data)
        together = one["type"] not in {MISSING, UNKNOWN, _OWN_WORDS}
        found.setdefault((place, name, "" if together else one["msg"]), []).append(one)
    return [WrongField(place, ones[0]["type"], name, _message(ones)) for (place, name, _), ones in found.items()]


def _message(ones: Iterable[Any]) -> str:
    first, *_ = ones
    match first["type"]:
        case "missing":
            return "is missing"
        case "extra_forbidden":
            return "is not known"
        case "value_error":
            return _without_prefix(first["msg"])
        case _:
            expected = " or ".join(dict.fromkeys(_expected(one) for one in ones))
            return f"must be {expected}, not {_given(first)}"


def _expected(error: Any) -> str:
    words = _EXPECTED.get(error["type"])
    if words is None:
        return _without_prefix(error["msg"])
    return words.format_map({name: _number(value) for name, value in error.get("ctx", {}).items()})


def _given(error: Any) -> str:
    value = error["input"]
    if error["type"] in {"string_too_long", "too_short", "too_long"}:
        return f"of {len(value):,}"
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return repr(shortened(value))
        case int() | float():
            return shortened(repr(value))
        case list():
            return "a list"
        case dict():
            return _MAPPING
        case _:  # of a document that was made in Python
            return shortened(repr(value))


def _number(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return f"{value:,}" if isinstance(value, (int, float)) else str(value)


def _without_prefix(message: str) -> str:
    for prefix in _PREFIXES:
        message = message.removeprefix(prefix)
    return message


def _existing(loc: Iterable[Any], data: Any) -> tuple[str | int, ...]:
    """The steps of a location that the data really have; the others name kinds of values."""
    found: list[str | int] = []
    for step in loc:
        match data:
            case dict() if step in data:
                data = data[step]
            case list() | tuple() if isinstance(step, int) and step < len(data):
                data = data[step]
            case _:
                break
        found.append(step)
    return tuple(found)
