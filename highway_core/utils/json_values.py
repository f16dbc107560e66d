"""Values as JSON: what a result may be, how others are encoded, and where in the value it cannot be stored.

Every result is checked here before it comes near a transaction, because PostgreSQL refuses what Python writes
(``NaN``, ``\\u0000``, half a surrogate pair) and Python refuses what PostgreSQL holds (nesting of 1,000, integers of
5,000 digits). A plain value, which is nearly every one, takes the fast path: encode once, read the text back,
compare. Only if that shows a difference or fails is the value walked, which finds the place that is to blame.

What JSON does not know is stored as pydantic encodes it: datetimes and durations in ISO 8601, dataclasses and models
as objects, Decimal as text, bytes as (URL-safe) base64. Every sequence becomes a list, a set a sorted one if its items
can be sorted, and keys become text.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence, Set, ValuesView
from typing import Any

from highway_core.errors import ResultError

MAX_DEPTH = 200
"""Levels of nesting that a stored value may have."""
MAX_DIGITS = 4_300
"""Digits that Python converts from and to text (``sys.get_int_max_str_digits``)."""
UNSTORABLE = re.compile("[\0\ud800-\udfff]")
"""Characters that no store takes: NUL and halves of surrogate pairs."""
DEFAULT_TEXT_LIMIT = 8_000

_encode = json.JSONEncoder(allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode
_decode = json.JSONDecoder().raw_decode
_LISTED = (Sequence, Set, ValuesView)
_BYTES = (bytes, bytearray, memoryview)
_NOT_FINITE = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
_MAX_INT = 10**MAX_DIGITS
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,99}")


def to_storable(value: Any, *, max_bytes: int, name: str = "result") -> tuple[Any, str]:
    """The plain JSON value that stands for ``value``, sharing nothing with it, and its JSON text.

    ResultError names the path of what cannot be stored (``result.users[3].x``; ``name`` is where paths begin). A value
    with code of its own (a subclass of dict, a model) may raise anything else.
    """
    if value is None:
        return None, "null"
    stored = _fast(value)
    if stored is None:
        plain = _Walk(max_bytes).plain(value, name, 0)
        stored = plain, _encode(plain)
    text = stored[1]
    size = len(text) if text.isascii() else len(text.encode())
    if size > max_bytes:
        raise ResultError(_too_large(name, f"{size:,} bytes as JSON", max_bytes))
    return stored


def dumps(value: Any) -> str:
    """Compact JSON text of a plain value; ValueError or TypeError if it is not one."""
    return _encode(value)


def loads(text: str | bytes) -> Any:
    """What a JSON text that was stored by this module holds."""
    return json.loads(text)


def is_deeper(plain: Any, levels: int) -> bool:
    """True if a plain value has more than that many levels of objects and lists. Does not recurse."""
    level = [plain] if isinstance(plain, dict | list) else []
    for _ in range(levels):
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return bool(level)


def clean_text(text: str, limit: int = DEFAULT_TEXT_LIMIT) -> str:
    """``text`` (an error message) as it can be stored: no NUL, no half surrogate pair, about ``limit`` characters."""
    if len(text) > limit:
        marker = f"… ({len(text):,} characters)"
        text = text[: max(limit - len(marker), 0)] + marker
    return UNSTORABLE.sub("\ufffd", text)


def _fast(value: Any) -> tuple[Any, str] | None:
    """The plain value and its text, or None if ``value`` must be looked at more closely."""
    try:
        text = _encode(value)
        if "\\u0000" in text:
            return None
        if not text.isascii():
            text.encode()  # raises UnicodeEncodeError for half a surrogate pair
        plain, _ = _decode(text)
        # Keys that were no text, and tuples, make a difference here: the walk tells harmless from lost.
        if plain != value or (_may_be_deep(text) and is_deeper(plain, MAX_DEPTH)):
            return None
    except (TypeError, ValueError, RecursionError):
        return None
    return plain, text


def _may_be_deep(text: str) -> bool:
    return text.count("[") + text.count("{") > MAX_DEPTH


class _Walk:
    """Turns a value into a plain one, node by node; knows the path that it is on."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._open: set[int] = set()

    def plain(self, value: Any, path: str, depth: int) -> Any:
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return _text(value, path)
        if isinstance(value, int):
            return _whole_number(value, path)
        if isinstance(value, float):
            return _number(value, path)
        return self._inside(value, path, depth)

    def _inside(self, value: Any, path: str, depth: int) -> Any:
        if depth >= MAX_DEPTH:
            raise ResultError(f"{_short(path)} is nested more than {MAX_DEPTH} levels deep and cannot be stored.")
        if id(value) in self._open:
            raise ResultError(f"{_short(path)} contains itself and cannot be stored.")
        self._open.add(id(value))
        try:
            if isinstance(value, Mapping):
                return self._object(value, path, depth)
            if isinstance(value, _LISTED) and not isinstance(value, _BYTES):
                return self._list(value, path, depth)
            return self.plain(_encoded(value, path), path, depth)
        finally:
            self._open.discard(id(value))

    def _list(self, value: Collection[Any], path: str, depth: int) -> list[Any]:
        if len(value) > self._max_bytes:  # a range costs nothing until it is written out
            raise ResultError(_too_large(_short(path), f"{len(value):,} items long", self._max_bytes))
        items = _sorted(value) if isinstance(value, set | frozenset) else value
        return [self.plain(item, f"{path}[{i}]", depth + 1) for i, item in enumerate(items)]

    def _object(self, value: Mapping[Any, Any], path: str, depth: int) -> dict[str, Any]:
        plain: dict[str, Any] = {}
        for key, item in value.items():
            name = self._key(key, f"a key of {path}")
            place = f"{path}.{name}" if _PLAIN_KEY.fullmatch(name) else f"{path}[{clean_text(name, 100)!r}]"
            if name in plain:
                raise ResultError(f"{_short(place)} cannot be stored: two keys of {_short(path)} have that text.")
            plain[name] = self.plain(item, place, depth + 1)
        return plain

    def _key(self, key: Any, path: str) -> str:
        if isinstance(key, str):
            return _text(key, path)
        if key is None or isinstance(key, bool | int | float):
            return _encode(self.plain(key, path, 0))
        return _text(next(iter(_encoded({key: None}, path))), path)


def _text(value: str, path: str) -> str:
    found = UNSTORABLE.search(value)
    if found:
        what = "a NUL character" if found[0] == "\0" else f"half a surrogate pair (U+{ord(found[0]):04X})"
        raise ResultError(f"{_short(path)} cannot be stored: {what} at index {found.start()}.")
    return str.__str__(value)


def _whole_number(value: int, path: str) -> int:
    if not -_MAX_INT < value < _MAX_INT:
        raise ResultError(f"{_short(path)} cannot be stored: an integer of more than {MAX_DIGITS:,} digits.")
    return int(value)


def _number(value: float, path: str) -> float:
    if not math.isfinite(value):
        raise ResultError(f"{_short(path)} cannot be stored: JSON has no {_NOT_FINITE[float.__repr__(value)]}.")
    return float(value)


def _encoded(value: Any, path: str) -> Any:
    # Imported here because it is large, and few runs return anything but plain values.
    from pydantic_core import PydanticSerializationError, to_jsonable_python  # noqa: PLC0415

    try:
        return to_jsonable_python(value, bytes_mode="base64", inf_nan_mode="constants")
    except (PydanticSerializationError, ValueError, RecursionError) as error:
        kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
        reason = clean_text(str(error), 200)
        raise ResultError(f"{_short(path)} cannot be stored: no JSON form for type {kind} ({reason}).") from error


def _sorted(value: set[Any] | frozenset[Any]) -> Iterable[Any]:
    try:
        return sorted(value)
    except TypeError:
        return value


def _too_large(path: str, size: str, max_bytes: int) -> str:
    return (
        f"{path} is {size} and the limit is {max_bytes:,} bytes: "
        "store it elsewhere and return where it is, or raise HIGHWAY_MAX_RESULT_BYTES."
    )


def _short(path: str) -> str:
    return path if len(path) <= 200 else f"{path[:100]}…{path[-100:]}"
