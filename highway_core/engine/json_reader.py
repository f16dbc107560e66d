"""A strict and bounded JSON reader, with the same limits and the same problems as the YAML one.

The parser of the standard library reads the text and only notes that something in it is refused (a key twice, NaN, a
number too large). If so, or when a position is asked for, :class:`_Scan` goes through the text a second time, knows
where it is, and says what and where.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from typing import Any

from highway_core.engine.source_document import (
    MAX_DEPTH,
    MAX_NODES,
    TOP_HINT,
    Complaints,
    Located,
    SourceDocument,
    decoded,
    shortened,
)
from highway_core.utils.json_values import MAX_DIGITS, UNSTORABLE, is_deeper

_SUSPECT_ESCAPE = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")
# Possessive, because a long text must not leave a step back for each of its characters.
_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+"|[\[\]{},:]|[^\s\[\]{},:"]++', re.DOTALL)
_NOT_FINITE = frozenset({"NaN", "Infinity", "-Infinity"})


def read_json(text: str | bytes, source: str = "<text>") -> SourceDocument:
    """Read one JSON document whose top is an object; DocumentError lists everything that is wrong with it."""
    text = decoded(text, source, UNSTORABLE)
    reading = _Reading()
    try:
        data = reading.loads(text)
    except json.JSONDecodeError as error:
        Complaints(source, text).stop(f"this is not JSON: {error.msg}", error.pos)
    except RecursionError:
        _Scan(text, source).located()
        raise
    if reading.refused or _may_be_refused(text, data):
        _Scan(text, source).located()
    if not isinstance(data, dict):
        kind = "a list" if isinstance(data, list) else f"the value {shortened(text.strip())}"
        Complaints(source, text).stop(f"the document is {kind}", 0, hint=TOP_HINT)
    return SourceDocument(source, text, data, _Scan(text, source).located)


class _Reading:
    """The hooks of ``json.loads``. None raises, so that what comes later is checked too; they leave a note."""

    def __init__(self) -> None:
        self.refused = False

    def loads(self, text: str) -> Any:
        return json.loads(
            text,
            object_pairs_hook=self._object,
            parse_float=self._float,
            parse_int=self._int,
            parse_constant=self._constant,
        )

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        self.refused |= len(value) != len(pairs)
        return value

    def _float(self, text: str) -> float:
        value = float(text)
        self.refused |= math.isinf(value)
        return value

    def _int(self, text: str) -> int:
        if len(text.lstrip("-")) > MAX_DIGITS:
            self.refused = True
            return 0
        return int(text)

    def _constant(self, _name: str) -> None:
        self.refused = True


def _may_be_refused(text: str, data: Any) -> bool:
    opened = text.count("[") + text.count("{")
    return (
        opened + text.count(",") >= MAX_NODES
        or (opened > MAX_DEPTH and is_deeper(data, MAX_DEPTH))
        or _SUSPECT_ESCAPE.search(text) is not None
    )


@dataclass(slots=True)
class _Level:
    """An object or a list that the scan is inside of; in an object ``step`` is the key that waits for its value."""

    offset: int
    step: str | int | None
    step_offset: int = 0
    seen: dict[str, int] = field(default_factory=dict)
    children: dict[str | int, Located] = field(default_factory=dict)


class _Scan:
    """Goes through a text that ``json.loads`` could read, at least as far as the limits reach."""

    def __init__(self, text: str, source: str) -> None:
        self._text = text
        self._complaints = Complaints(source, text)
        self._levels: list[_Level] = []
        self._nodes = 0
        self._top = Located(0)

    def located(self) -> Located:
        """Where everything stands; DocumentError if something in the text is refused."""
        for match in _TOKEN.finditer(self._text):
            token, offset = match[0], match.start()
            match token[0]:
                case "{":
                    self._open(_Level(offset, None))
                case "[":
                    self._open(_Level(offset, 0))
                case "}" | "]":
                    level = self._levels.pop()
                    self._put(Located(level.offset, level.children))
                case '"':
                    self._string(token, offset)
                case "," | ":":
                    pass
                case _:
                    self._check_literal(token, offset)
                    self._leaf(offset)
        self._complaints.raise_any()
        return self._top

    def _open(self, level: _Level) -> None:
        if len(self._levels) >= MAX_DEPTH:
            self._complaints.stop(f"nested more than {MAX_DEPTH} levels deep", level.offset, self._place())
        self._count(level.offset)
        self._levels.append(level)

    def _string(self, token: str, offset: int) -> None:
        text = json.loads(token) if "\\" in token else token[1:-1]
        if "\\" in token and UNSTORABLE.search(text):
            message = "an escape stands for NUL or half a surrogate pair, which cannot be stored"
            self._complaints.add(message, offset, self._place())
        if self._levels and self._levels[-1].step is None:
            self._key(self._levels[-1], text, offset)
        else:
            self._leaf(offset)

    def _key(self, level: _Level, key: str, offset: int) -> None:
        level.step = key
        level.step_offset = offset
        first = level.seen.setdefault(key, offset)
        if first != offset:
            line = self._complaints.line(first)
            message = f"the key {shortened(key)!r} is there twice, first on line {line}"
            self._complaints.add(message, offset, self._place())

    def _leaf(self, offset: int) -> None:
        self._count(offset)
        self._put(Located(offset))

    def _put(self, found: Located) -> None:
        if not self._levels:
            self._top = found
            return
        level = self._levels[-1]
        if isinstance(level.step, str):
            level.children[level.step] = Located(level.step_offset, found.children)
            level.step = None
        elif level.step is not None:
            level.children[level.step] = found
            level.step += 1

    def _check_literal(self, token: str, offset: int) -> None:
        if token in _NOT_FINITE:
            self._complaints.add(f"JSON has no {token}", offset, self._place())
        elif token.lstrip("-").isdecimal() and len(token.lstrip("-")) > MAX_DIGITS:
            self._complaints.add(f"an integer of more than {MAX_DIGITS:,} digits", offset, self._place())
        elif token[-1].isdecimal() and math.isinf(float(token)):
            self._complaints.add("a number too large for a float", offset, self._place())

    def _count(self, offset: int) -> None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            self._complaints.stop(f"more than {MAX_NODES:,} values", offset, self._place())

    def _place(self) -> list[str | int]:
        return [level.step for level in self._levels if level.step is not None]
