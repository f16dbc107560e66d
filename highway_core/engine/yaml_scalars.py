"""What a YAML scalar means: the core rules of YAML 1.2, with the exceptions that yaml_reader explains."""

from __future__ import annotations

import math
import re
from types import NoneType
from typing import Any

from highway_core.utils.json_values import MAX_DIGITS

STANDARD_TAG = "tag:yaml.org,2002:"

_WORDS: dict[str, Any] = (
    dict.fromkeys(("", "~", "null", "Null", "NULL"))
    | dict.fromkeys(("true", "True", "TRUE"), True)
    | dict.fromkeys(("false", "False", "FALSE"), False)
    | dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), math.inf)
    | dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf)
    | dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan)
)
_NUMBER_STARTS = frozenset("+-.0123456789")
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_OTHER_BASE = re.compile(r"0x[0-9a-fA-F]+|0o[0-7]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?")
_TOO_LARGE = 10**MAX_DIGITS
_FLOAT_TAG = f"{STANDARD_TAG}float"
_TYPES: dict[str, tuple[type, ...]] = {
    f"{STANDARD_TAG}int": (int,),
    _FLOAT_TAG: (float, int),
    f"{STANDARD_TAG}bool": (bool,),
    f"{STANDARD_TAG}null": (NoneType,),
}
_TEXT_TAGS = frozenset({"!", f"{STANDARD_TAG}str"})


def plain_value(text: str) -> Any:
    """The value of a scalar without quotes and tag; ValueError if it is a number that Python cannot hold."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _NUMBER_STARTS:
        return text
    if _INTEGER.fullmatch(text):
        if len(text.lstrip("+-")) > MAX_DIGITS:
            raise ValueError(f"an integer of more than {MAX_DIGITS:,} digits")
        return int(text)
    if _FLOAT.fullmatch(text):
        return _float(text)
    if _OTHER_BASE.fullmatch(text):
        number = int(text, 0)
        if number >= _TOO_LARGE:
            raise ValueError(f"an integer of more than {MAX_DIGITS:,} digits")
        return number
    return text


def tagged_value(tag: str, text: str) -> Any:
    """The value of a scalar with a tag; ValueError says why there is none."""
    if not is_scalar_tag(tag):
        raise ValueError(refused_tag(tag))
    if tag in _TEXT_TAGS:
        return text
    value = plain_value(text)
    if type(value) not in _TYPES[tag]:
        raise ValueError(f"the tag {shown_tag(tag)} does not fit this value")
    return _float(value) if tag == _FLOAT_TAG else value


def is_scalar_tag(tag: str) -> bool:
    """True for the tags that a text, a number, a boolean or null may carry."""
    return tag in _TEXT_TAGS or tag in _TYPES


def refused_tag(tag: str) -> str:
    """Why a tag is refused."""
    return f"the tag {shown_tag(tag)} is refused: a document holds plain values only"


def shown_tag(tag: str) -> str:
    """A tag as people write it."""
    short = f"!!{tag.removeprefix(STANDARD_TAG)}" if tag.startswith(STANDARD_TAG) else tag
    return short[:60]


def _float(number: str | int | float) -> float:
    try:
        value = float(number)
    except OverflowError:
        value = math.inf
    if math.isinf(value) and not isinstance(number, float):
        raise ValueError("a number too large for a float")
    return value
