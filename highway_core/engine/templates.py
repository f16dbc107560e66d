"""Values with ``{{references}}`` in them: parsed once, when the document compiles; bound when a task starts.

A :class:`CompiledValue` remembers the shape of an argument and where its references are. Binding is one pass: what a
reference yields is data and is never looked at for braces again. Dict keys are not templated.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, Final

from highway_core.engine.references import MARKER, MISSING, SUPPORTED, Lookup, Reference, reference_of, shorten
from highway_core.errors import ExpressionError

MAX_DEPTH: Final = 200
"""How deep lists and dicts of a templated value may nest."""
MAX_TEXT: Final = 64 * 1024 * 1024
"""The longest text, in characters, that one string may grow to when its references are filled in."""


class CompiledValue(ABC):
    """A value of a document, ready to be bound any number of times, from any thread."""

    __slots__ = ()
    constant: bool = False
    references: tuple[Reference, ...] = ()

    @abstractmethod
    def resolve(self, lookup: Lookup) -> Any:
        """The value with its references filled in. Lists and dicts in it are the caller's own."""


class _Scalar(CompiledValue):
    __slots__ = ("_value",)
    constant = True

    def __init__(self, value: Any) -> None:
        self._value = value

    def resolve(self, lookup: Lookup) -> Any:  # noqa: ARG002 - a constant looks nothing up
        return self._value


class _Container(CompiledValue):
    """A list or dict without references: every task gets its own copy, so that none can change another's."""

    __slots__ = ("_value",)
    constant = True

    def __init__(self, value: Any) -> None:
        self._value = value

    def resolve(self, lookup: Lookup) -> Any:  # noqa: ARG002 - a constant looks nothing up
        return _copied(self._value)


class _Single(CompiledValue):
    __slots__ = ("_reference", "references")

    def __init__(self, reference: Reference) -> None:
        self._reference = reference
        self.references = (reference,)

    def resolve(self, lookup: Lookup) -> Any:
        value = lookup.lookup(self._reference)
        return fresh(value) if isinstance(value, (dict, list)) else value


class _Text(CompiledValue):
    __slots__ = ("_parts", "references")

    def __init__(self, parts: list[str | Reference]) -> None:
        self._parts = tuple(parts)
        self.references = tuple(part for part in parts if isinstance(part, Reference))

    def resolve(self, lookup: Lookup) -> str:
        return join([part if isinstance(part, str) else as_text(lookup.lookup(part)) for part in self._parts])


class _List(CompiledValue):
    __slots__ = ("_items", "references")

    def __init__(self, items: list[CompiledValue]) -> None:
        self._items = tuple(items)
        self.references = tuple(reference for item in items for reference in item.references)

    def resolve(self, lookup: Lookup) -> list[Any]:
        return [item.resolve(lookup) for item in self._items]


class _Dict(CompiledValue):
    __slots__ = ("_items", "references")

    def __init__(self, items: dict[Any, CompiledValue]) -> None:
        self._items = tuple(items.items())
        self.references = tuple(reference for item in items.values() for reference in item.references)

    def resolve(self, lookup: Lookup) -> dict[Any, Any]:
        return {key: item.resolve(lookup) for key, item in self._items}


def compile_value(value: Any) -> CompiledValue:
    """Parse every string inside ``value``; ExpressionError names the place and the text it could not read."""
    return _compiled(value, "")


def compile_text(text: str) -> CompiledValue:
    """As compile_value, but what comes out is text even where ``text`` is one single reference."""
    return _text_of(list(_parts(text)))


def text_parts(text: str) -> list[str | Reference]:
    """``text`` in pieces, plain text and references in turn; ExpressionError at the first malformed marker."""
    return list(_parts(text))


def _compiled(value: Any, place: str, depth: int = 0) -> CompiledValue:
    if isinstance(value, str):
        return _compiled_text(value, place)
    if not isinstance(value, (list, dict)):
        return _Scalar(value)
    _check_depth(depth, place)
    if isinstance(value, list):
        items = [_compiled(item, f"{place}[{index}]", depth + 1) for index, item in enumerate(value)]
        return _Container(value) if all(item.constant for item in items) else _List(items)
    fields = {key: _compiled(item, place + _key_place(key), depth + 1) for key, item in value.items()}
    return _Container(value) if all(item.constant for item in fields.values()) else _Dict(fields)


def _compiled_text(text: str, place: str) -> CompiledValue:
    if "{{" not in text:
        return _Scalar(text)
    try:
        parts = list(_parts(text))
    except ExpressionError as error:
        raise ExpressionError(f"{place}: {error}" if place else str(error)) from error
    if len(parts) == 1 and isinstance(parts[0], Reference):
        return _Single(parts[0])
    return _text_of(parts)


def _text_of(parts: list[str | Reference]) -> CompiledValue:
    if any(isinstance(part, Reference) for part in parts):
        return _Text(parts)
    return _Scalar("".join(part for part in parts if isinstance(part, str)))


def _parts(text: str) -> Iterator[str | Reference]:
    """``text`` in pieces: plain text and references; a quoted literal in braces is plain text."""
    position = 0
    while (start := text.find("{{", position)) >= 0:
        while text.startswith("{{{", start):
            start += 1  # of a row of braces the last two open: {"id": {{{x}}}} is JSON around {{x}}
        if start > position:
            yield text[position:start]
        marker = MARKER.match(text, start)
        if marker is None:
            raise ExpressionError(_malformed(text, start))
        path = marker["path"]
        yield reference_of(path) if path is not None else _literal(marker)
        position = marker.end()
    if position < len(text):
        yield text[position:]


def _literal(marker: re.Match[str]) -> str:
    return marker[0][2:-2].strip()[1:-1]


def _malformed(text: str, start: int) -> str:
    end = text.find("}}", start)
    if end < 0:
        return f"{shorten(text[start:])!r} opens braces that are not closed. {SUPPORTED}"
    marker = text[start : end + 2]
    if not marker[2:-2].strip():
        return f"'{{{{}}}}' names nothing. {SUPPORTED}"
    if "|" in marker:
        return f"{shorten(marker)!r} uses a filter. {SUPPORTED}"
    return f"{shorten(marker)!r} is not a reference. {SUPPORTED}"


def references_in(value: Any) -> list[tuple[str, Reference]]:
    """Every reference inside ``value`` with its place (``[0].url``); a string that cannot be read has none."""
    found: list[tuple[str, Reference]] = []
    for place, text in _strings_in(value, "", 0):
        try:
            found += [(place, part) for part in _parts(text) if isinstance(part, Reference)]
        except ExpressionError:
            continue
    return found


def malformed_in(value: Any) -> list[tuple[str, str]]:
    """Every string inside ``value`` whose braces cannot be read: its place and what is wrong."""
    wrong = []
    for place, text in _strings_in(value, "", 0):
        try:
            for _ in _parts(text):
                pass
        except ExpressionError as error:
            wrong.append((place, str(error)))
    return wrong


def _strings_in(value: Any, place: str, depth: int) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, list):
        _check_depth(depth, place)
        for index, item in enumerate(value):
            yield from _strings_in(item, f"{place}[{index}]", depth + 1)
    elif isinstance(value, dict):
        _check_depth(depth, place)
        for key, item in value.items():
            yield from _strings_in(item, place + _key_place(key), depth + 1)


def _key_place(key: Any) -> str:
    text = str(key)
    return f".{text}" if text.isidentifier() else f"[{json.dumps(shorten(text), ensure_ascii=False)}]"


def _check_depth(depth: int, place: str) -> None:
    if depth > MAX_DEPTH:
        raise ExpressionError(f"{shorten(place)} is nested deeper than {MAX_DEPTH} lists and dicts.")


def fill_known(text: str, lookup: Lookup, render: Callable[[Any], str]) -> Any:
    """``text`` with what can be found filled in; an unknown or malformed marker stays as it is written."""

    def filled(marker: re.Match[str]) -> str:
        if marker["path"] is None:
            return _literal(marker)
        value = lookup.find(reference_of(marker["path"]))
        return marker[0] if value is MISSING else render(value)

    whole = MARKER.fullmatch(text)
    if whole is None or whole["path"] is None:
        return MARKER.sub(filled, text)
    value = lookup.find(reference_of(whole["path"]))
    return text if value is MISSING else fresh(value)


def as_text(value: Any) -> str:
    """How a value looks inside longer text: strings as they are, everything else as JSON would write it."""
    if isinstance(value, str):
        return value
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (dict, list, tuple)):
        return as_json(value)
    try:
        return str(value)
    except ValueError as error:  # an int of more digits than Python writes
        raise ExpressionError(f"A {type(value).__name__} cannot be written as text: {error}") from error


def as_json(value: Any) -> str:
    """``value`` as JSON text; what JSON does not know becomes a string."""
    try:
        return json.dumps(value, ensure_ascii=False, default=str)
    except (TypeError, ValueError, RecursionError) as error:
        raise ExpressionError(f"A {type(value).__name__} cannot be written as JSON: {error}") from error


def join(parts: list[str]) -> str:
    """The parts in one, unless that is longer than MAX_TEXT."""
    if sum(map(len, parts)) > MAX_TEXT:
        raise ExpressionError(f"A templated text grew longer than {MAX_TEXT:,} characters.")
    return "".join(parts)


def fresh(value: Any) -> Any:
    """A copy of the lists and dicts of ``value``: a tool that changes its argument must not change the run's data."""
    try:
        return _copied(value)
    except RecursionError as error:
        raise ExpressionError(f"A {type(value).__name__} is nested too deeply to be copied.") from error


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_copied(item) for item in value]
    return value
