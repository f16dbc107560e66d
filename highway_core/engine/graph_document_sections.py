"""One mapping of a graph document with its place, so that whoever reads a key can say where it is wrong."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from highway_core.engine.cel import compile_cel
from highway_core.engine.report import Report
from highway_core.engine.source_document import Place
from highway_core.errors import ExpressionError
from highway_core.utils.naming import did_you_mean

NODE_ID: Final = re.compile(r"[\w-]+(?:\x20+[\w-]+)*")
"""Ids that ``{{…}}`` can name. None has a dot, so ids with dots are free for the tasks that the conversion adds."""

_DOLLAR: Final = re.compile(
    r"""(?P<text>'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")|(?<![\w$])\$(?:(?P<path>\.)|(?P<name>output|context|ctx)\b)"""
)
_PREFIX: Final = "cel:"


@dataclass(frozen=True, slots=True)
class Section:
    """``values`` at ``place``; nulls are left out of it."""

    values: Mapping[str, Any]
    place: Place
    report: Report

    def problem(self, key: str | None, message: str, hint: str = "") -> None:
        """Report a problem of the section (None), or of one of its keys."""
        self.report.add((*self.place, *([key] if key is not None and key in self.values else [])), message, hint)

    def warn(self, message: str) -> None:
        """Report a warning."""
        self.report.warn(self.place, message)

    def missing(self, key: str) -> None:
        """Report a key that must be there."""
        if key not in self.values:
            self.problem(None, f"missing field '{key}'")

    def check_keys(self, known: Iterable[str], foreign: Mapping[str, str] | None = None) -> None:
        """A key that nothing reads: an error if it looks like a slip, a warning otherwise."""
        known = tuple(known)
        for key in self.values:
            if key in known:
                continue
            other = (foreign or {}).get(key)
            hint = f"write {other}" if other else did_you_mean(key, known)
            if hint:
                self.problem(key, f"unknown key '{key}'", hint)
            else:
                self.report.warn((*self.place, key), f"nothing reads the key '{key}'")

    def inner(self, key: str) -> Section:
        """The mapping under ``key``; empty where there is none."""
        value = self.values.get(key, {})
        if not isinstance(value, Mapping):
            self.problem(key, f"'{key}' must be a mapping")
            value = {}
        kept = {name: one for name, one in value.items() if one is not None}
        return Section(kept, (*self.place, key), self.report)

    def entries(self, key: str) -> list[Section]:
        """The mappings in the list under ``key``."""
        value = self.values.get(key, [])
        if not isinstance(value, list) or not all(isinstance(one, Mapping) for one in value):
            self.problem(key, f"'{key}' must be a list of mappings")
            return []
        return [Section(one, (*self.place, key, number), self.report) for number, one in enumerate(value)]

    def text(self, key: str) -> str | None:
        """A text that must be there; None if it is not (reported)."""
        value = self.values.get(key)
        if isinstance(value, str) and value.strip():
            return value
        if key in self.values:
            self.problem(key, f"'{key}' must be a text, not {value!r}"[:120])
        else:
            self.missing(key)
        return None

    def flag(self, key: str, otherwise: bool) -> bool:
        """A boolean, or ``otherwise``."""
        value = self.values.get(key, otherwise)
        if not isinstance(value, bool):
            self.problem(key, f"'{key}' must be true or false, not {value!r}"[:120])
            return otherwise
        return value

    def names(self, key: str) -> list[str]:
        """The names under ``key``: one, a list of them, or none."""
        value = self.values.get(key, [])
        value = [value] if isinstance(value, str) else value
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            self.problem(key, f"'{key}' must be the id of a node, or a list of ids")
            return []
        return list(dict.fromkeys(value))

    def condition(self, key: str) -> str | None:
        """The CEL text under ``key``, checked; None where there is none.

        Also read: ``{type: cel, expression: …}``, ``cel:`` in front, ``$.`` for ``output.``, ``$context``.
        """
        value = self.values.get(key)
        if isinstance(value, Mapping):
            if value.get("type", "cel") != "cel":
                self.problem(key, f"conditions are CEL, not '{value['type']}'")
            value = value.get("expression")
        if key not in self.values or value == "":
            return None
        if not isinstance(value, str):
            self.problem(key, "a condition must be a text")
            return None
        text = normal_cel(value)
        try:
            compile_cel(text)
        except ExpressionError as error:
            self.problem(key, str(error), "CEL has no braces: write ctx.<node>" if "{{" in text else "")
        return text


def normal_cel(text: str) -> str:
    """CEL as the engine's expressions have it, without the prefix and the dollar signs of other writers."""
    text = text.strip()
    if text[: len(_PREFIX)].lower() == _PREFIX:
        text = text[len(_PREFIX) :].strip()
    return _DOLLAR.sub(_without_dollar, text)


def _without_dollar(found: re.Match[str]) -> str:
    if found["text"]:
        return found["text"]
    return "output." if found["path"] else found["name"]


def join_conditions(one: str | None, other: str) -> str:
    """CEL that holds if either does. The line ends keep a comment from swallowing the rest."""
    return other if one is None else f"({one}\n) || ({other}\n)"
