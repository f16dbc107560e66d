"""Conditions and switches: parsed once, before any value is known, and evaluated over a lookup. No ``eval`` anywhere.

A reference is an operand: whatever its value holds, it cannot change the expression. A missing one is null. A bare
word is a text (``{{status}} == APPROVED``); a quoted text may hold references (``'order {{id}}'``) and is always text.
The grammar stands in :mod:`~highway_core.engine.expression_parser`, what equality, order and truth mean in
:mod:`~highway_core.engine.expression_values`. ``cel:`` in front makes the rest a CEL expression.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from highway_core.engine.cel import compile_cel
from highway_core.engine.expression_nodes import Node, NullForMissing, Text
from highway_core.engine.expression_parser import parse_expression
from highway_core.engine.expression_values import shown, truth
from highway_core.engine.references import MARKER, MISSING, Lookup, Reference
from highway_core.engine.templates import as_text, compile_text
from highway_core.errors import ExpressionError

CEL_PREFIX: Final = "cel:"

_JOINED: Final = re.compile(r"[\w.:/@-]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Condition:
    """A parsed condition; runs and threads share it. The references of CEL (``is_cel``) are output and context."""

    text: str
    node: Node
    references: tuple[Reference, ...]
    is_cel: bool = False

    def evaluate(self, lookup: Lookup) -> Any:
        """Its value; ExpressionError where the operands do not fit."""
        return self.node.value(NullForMissing(lookup))

    def is_true(self, lookup: Lookup) -> bool:
        """Whether it holds."""
        return truth(self.evaluate(lookup))

    def explain(self, lookup: Lookup) -> str:
        """``{{a.b}} = 'x', {{c}} = null``: what its references stand for; empty if it has none."""
        return ", ".join(f"{each} = {_value_shown(each, lookup)}" for each in dict.fromkeys(self.references))


def _value_shown(reference: Reference, lookup: Lookup) -> str:
    if reference.secret:
        return "hidden"
    value = lookup.find(reference)
    return "null" if value is MISSING else shown(value)


@lru_cache(maxsize=1024)
def parse_condition(text: str) -> Condition:
    """Parse ``text``; ExpressionError shows what could not be read and what to write instead."""
    stripped = text.strip()
    if stripped[: len(CEL_PREFIX)].lower() == CEL_PREFIX:
        program = compile_cel(stripped[len(CEL_PREFIX) :].strip())
        return Condition(text, program, program.references, is_cel=True)
    node = parse_expression(text)
    return Condition(text, node, node.references)


def eval_condition(text: str) -> bool:
    """The lenient form of the existing library, for text without references: whatever cannot be evaluated is False."""
    try:
        condition = parse_condition(text)
        return not condition.references and condition.is_true(NoData())
    except ExpressionError:
        return False


class NoData:
    """A lookup that has nothing, for expressions without references."""

    def find(self, reference: Reference) -> Any:  # noqa: ARG002 - there is nothing to find
        return MISSING

    lookup = find

    def context(self) -> dict[str, Any]:
        return {}


@dataclass(frozen=True, slots=True)
class Switch:
    """A parsed ``switch_on``. Its value is compared with the cases as text."""

    condition: Condition

    @property
    def references(self) -> tuple[Reference, ...]:
        """As in :class:`Condition`."""
        return self.condition.references

    def value(self, lookup: Lookup) -> str:
        """The value as text: true, false and null in lower case, dicts and lists as JSON."""
        return as_text(self.condition.evaluate(lookup))

    def choose(self, lookup: Lookup, cases: Iterable[str]) -> str | None:
        """The case that the value equals, else None. For true, false and null the case may be written in any case,
        and ``None`` is null, because a document's ``True:`` and Python's ``str(True)`` both arrive here."""
        value = self.condition.evaluate(lookup)
        text = as_text(value)
        names = list(cases)
        if text in names or not (value is None or isinstance(value, bool)):
            return text if text in names else None
        words = {"null", "none"} if value is None else {text}
        return next((name for name in names if name.lower() in words), None)


def parse_switch(text: str) -> Switch:
    """Parse a ``switch_on``: an expression, or references and plain text without a blank (``{{region}}-{{tier}}``)."""
    outside = MARKER.sub("", text)
    if outside != text and text.strip() == text and _JOINED.fullmatch(outside) and MARKER.fullmatch(text) is None:
        template = compile_text(text)
        return Switch(Condition(text, Text(text, template), template.references))
    return Switch(parse_condition(text))


def switch_value(text: str, lookup: Lookup) -> str:
    """The value of the ``switch_on`` called ``text``, as it is compared with the cases."""
    return parse_switch(text).value(lookup)
