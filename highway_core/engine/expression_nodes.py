"""The tree of a parsed condition: every node computes its value from the values below it; nothing is parsed again.

Chains (``a and b and c``, ``1 < x < 9``, ``a + b - c``) are one node each, so a long condition makes a wide tree and
not a deep one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from highway_core.engine.expression_values import ARITHMETIC, COMPARISONS, Binary, shown, truth
from highway_core.engine.references import MISSING, Lookup, Reference, shorten
from highway_core.engine.templates import CompiledValue
from highway_core.errors import ExpressionError


class NullForMissing:
    """A lookup in which what is missing is null, as conditions want it."""

    __slots__ = ("_lookup",)

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup

    def find(self, reference: Reference) -> Any:
        """The value, or null."""
        value = self._lookup.find(reference)
        return None if value is MISSING else value

    lookup = find

    def context(self) -> Mapping[str, Any]:
        """As the lookup beneath."""
        return self._lookup.context()


class Node(ABC):
    """One part of a condition. ``text`` is how it was written, for messages."""

    __slots__ = ()
    text: str

    @property
    def references(self) -> tuple[Reference, ...]:
        """Every reference in it, as written, repeated ones too."""
        return ()

    @abstractmethod
    def value(self, lookup: Lookup) -> Any:
        """What it comes to. ``lookup`` is a NullForMissing."""


@dataclass(frozen=True, slots=True)
class Constant(Node):
    """A number, a text, true, false or null."""

    text: str
    constant: Any

    def value(self, lookup: Lookup) -> Any:  # noqa: ARG002 - a constant looks nothing up
        return self.constant


class Word(Constant):
    """A bare word, which is a text."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Operand(Node):
    """A reference."""

    text: str
    reference: Reference

    @property
    def references(self) -> tuple[Reference, ...]:
        return (self.reference,)

    def value(self, lookup: Lookup) -> Any:
        return lookup.lookup(self.reference)


@dataclass(frozen=True, slots=True)
class Text(Node):
    """A quoted text with references inside."""

    text: str
    template: CompiledValue

    @property
    def references(self) -> tuple[Reference, ...]:
        return self.template.references

    def value(self, lookup: Lookup) -> Any:
        return self.template.resolve(lookup)


@dataclass(frozen=True, slots=True)
class _Several(Node):
    text: str
    operands: tuple[Node, ...]

    @property
    def references(self) -> tuple[Reference, ...]:
        return tuple(reference for operand in self.operands for reference in operand.references)


class Items(_Several):
    """A list that is written out."""

    __slots__ = ()

    def value(self, lookup: Lookup) -> Any:
        return [operand.value(lookup) for operand in self.operands]


class Both(_Several):
    """``and``: the first operand that is false, else the last, as in Python."""

    __slots__ = ()

    def value(self, lookup: Lookup) -> Any:
        value = None
        for operand in self.operands:
            value = operand.value(lookup)
            if not truth(value):
                break
        return value


class Either(_Several):
    """``or``: the first operand that is true, else the last, as in Python."""

    __slots__ = ()

    def value(self, lookup: Lookup) -> Any:
        value = None
        for operand in self.operands:
            value = operand.value(lookup)
            if truth(value):
                break
        return value


@dataclass(frozen=True, slots=True)
class Applied(Node):
    """One operand under ``not``, a sign or ``len()``."""

    text: str
    function: Callable[[Any], Any]
    operand: Node

    @property
    def references(self) -> tuple[Reference, ...]:
        return self.operand.references

    def value(self, lookup: Lookup) -> Any:
        value = self.operand.value(lookup)
        try:
            return self.function(value)
        except ExpressionError as error:
            raise ExpressionError(f"{shorten(self.text)} with {_seen(self.operand, value)}: {error}.") from error


@dataclass(frozen=True, slots=True)
class _Chain(Node):
    text: str
    first: Node
    steps: tuple[tuple[str, Node], ...]

    @property
    def references(self) -> tuple[Reference, ...]:
        rest = (reference for _, operand in self.steps for reference in operand.references)
        return (*self.first.references, *rest)


class Comparison(_Chain):
    """``1 < x <= 9``: holds if every neighbouring pair does; the first that does not ends it."""

    __slots__ = ()

    def value(self, lookup: Lookup) -> Any:
        left, left_value = self.first, self.first.value(lookup)
        for symbol, right in self.steps:
            right_value = right.value(lookup)
            if not _apply(symbol, COMPARISONS[symbol], (left, left_value), (right, right_value)):
                return False
            left, left_value = right, right_value
        return True


class Arithmetic(_Chain):
    """``a + b - c``, from left to right."""

    __slots__ = ()

    def value(self, lookup: Lookup) -> Any:
        value = self.first.value(lookup)
        for symbol, operand in self.steps:
            value = _apply(symbol, ARITHMETIC[symbol], (self.first, value), (operand, operand.value(lookup)))
        return value


def _apply(symbol: str, function: Binary, left: tuple[Node, Any], right: tuple[Node, Any]) -> Any:
    try:
        return function(left[1], right[1])
    except ExpressionError as error:
        raise ExpressionError(f"{_seen(*left)} {symbol} {_seen(*right)}: {error}.") from error


def _seen(node: Node, value: Any) -> str:
    """An operand for a message: what it says and what that came to; a secret's value is left out."""
    if not node.references:
        return shown(value)
    hidden = any(reference.secret for reference in node.references)
    return f"{shorten(node.text)} ({'hidden' if hidden else shown(value)})"
