"""A document as it was read: plain data, where each piece of it stands in the text, and the limits that reading keeps.

Shared by the YAML and the JSON reader. Positions are wanted only when something is wrong, so a document keeps its text
and finds them by reading a second time; good documents pay nothing for them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NoReturn

from highway_core.errors import DocumentError, Problem

MAX_BYTES = 32 * 1024 * 1024
"""The largest document."""
MAX_DEPTH = 600
"""Levels of nesting. Operators nest up to ``graph.MAX_NESTING`` deep, and one takes five levels at the most."""
MAX_NODES = 1_000_000
"""Mappings, lists and scalars in a document, those counted each time that an alias repeats them."""
MAX_PROBLEMS = 100
"""Problems of one text after which its reader gives up."""

EMPTY = "the document is empty"
TOP_HINT = "a workflow is a mapping with at least a name and tasks"

Place = Sequence[str | int]
"""A way into a document: keys of mappings and indexes of lists, from the top."""

_LONGEST_PLACE = 40
_PLAIN_KEY = re.compile(r"[^\s.\[\]'\"]{1,100}")


@dataclass(frozen=True, slots=True)
class Located:
    """Where a piece of a document begins (as an offset into the text), and the pieces in it."""

    offset: int
    children: Mapping[str | int, Located] | None = None


class SourceDocument:
    """What was read. ``data`` is plain: dict, list, str, int, float, bool and None, and nothing in it is shared."""

    def __init__(self, source: str, text: str, data: dict[str, Any], locate: Callable[[], Located]) -> None:
        self.source = source
        self.data = data
        self.text = text
        self._locate = locate

    @cached_property
    def _top(self) -> Located:
        return self._locate()

    def position(self, place: Place) -> str:
        """``source:line:column`` (from 1) of ``place``: of its key, or of the nearest piece around it that exists."""
        found = self._top
        for step in place:
            inner = found.children.get(step) if found.children else None
            if inner is None:
                break
            found = inner
        return position_text(self.source, self.text, found.offset)


class Complaints:
    """Collects what is wrong with one text, so that the reader can go on and find more (up to MAX_PROBLEMS)."""

    def __init__(self, source: str, text: str) -> None:
        self._source = source
        self._text = text
        self._problems: list[Problem] = []

    def add(self, message: str, offset: int, place: Place = (), hint: str = "") -> None:
        """Note a problem; reading goes on, unless there are too many."""
        position = position_text(self._source, self._text, offset)
        self._problems.append(Problem(place=place_text(place), message=message, hint=hint, position=position))
        if len(self._problems) == MAX_PROBLEMS:
            self._problems.append(Problem(place="", message="too many problems, the rest was not read"))
            self.raise_any()

    def stop(self, message: str, offset: int, place: Place = (), hint: str = "") -> NoReturn:
        """Raise a problem behind which nothing can be read, together with those before it."""
        self.add(message, offset, place, hint)
        raise DocumentError(self._problems, self._source)

    def line(self, offset: int) -> int:
        """The line (from 1) of an offset, for messages that name a second place."""
        return self._text.count("\n", 0, offset) + 1

    def raise_any(self) -> None:
        """Raise DocumentError if there was a problem."""
        if self._problems:
            raise DocumentError(self._problems, self._source)


def place_text(place: Place) -> str:
    """A place as problems show it: ``tasks.fetch.args[0]``; keys that are no plain words stand in quotes."""
    if len(place) > _LONGEST_PLACE:
        half = _LONGEST_PLACE // 2
        return f"{place_text(place[:half])}…{place_text(place[-half:])}"
    parts: list[str] = []
    for step in place:
        if isinstance(step, int):
            parts.append(f"[{step}]")
        elif _PLAIN_KEY.fullmatch(step):
            parts.append(f".{step}" if parts else step)
        else:
            parts.append(f"[{shortened(step)!r}]")
    return "".join(parts)


def shortened(text: str, limit: int = 60) -> str:
    """The beginning of a text, for messages."""
    return text if len(text) <= limit else f"{text[:limit]}…"


def position_text(source: str, text: str, offset: int) -> str:
    """``source:line:column``, both counted from 1, of an offset into ``text``."""
    line_start = text.rfind("\n", 0, offset) + 1
    return f"{source}:{text.count(chr(10), 0, line_start) + 1}:{offset - line_start + 1}"


def decoded(text: str | bytes, source: str, forbidden: re.Pattern[str]) -> str:
    """The text of a document, without a byte order mark; DocumentError if it is too large or cannot be a text."""
    if len(text) > MAX_BYTES:
        _refuse(source, f"the document is larger than {MAX_BYTES // 1024 // 1024} MiB")
    if isinstance(text, bytes):
        text = _from_utf8(text, source)
    text = text.removeprefix("\ufeff")
    found = forbidden.search(text)
    if found:
        what = "a NUL character" if found[0] == "\0" else f"the control character U+{ord(found[0]):04X}"
        Complaints(source, text).stop(f"{what} does not belong in a document: is this a text file?", found.start())
    if not text.strip():
        _refuse(source, EMPTY, TOP_HINT)
    return text


def _from_utf8(data: bytes, source: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line_start = data.rfind(b"\n", 0, error.start) + 1
        position = f"{source}:{data.count(10, 0, line_start) + 1}:{error.start - line_start + 1}"
        kind = "UTF-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "another encoding, or no text at all"
        problem = Problem(
            place="",
            message=f"the document is not UTF-8: byte 0x{data[error.start]:02x} ({kind})",
            hint="save it as UTF-8",
            position=position,
        )
        raise DocumentError([problem], source) from None


def _refuse(source: str, message: str, hint: str = "") -> NoReturn:
    raise DocumentError([Problem(place="", message=message, hint=hint, position=f"{source}:1:1")], source)
