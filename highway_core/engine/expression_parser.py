"""The grammar of conditions, and the recursive descent that reads it.

::

    condition   = both ("or" both)*
    both        = negation ("and" negation)*
    negation    = "not" negation | comparison
    comparison  = sum (("==" | "!=" | "<" | "<=" | ">" | ">=" | "in" | "not" "in") sum)*
    sum         = product (("+" | "-") product)*
    product     = signed (("*" | "/" | "//" | "%") signed)*
    signed      = ("-" | "+") signed | operand
    operand     = number | 'text' | {{reference}} | true | false | null | none | word
                | "(" condition ")" | "[" [condition ("," condition)*] "]" | "len" "(" condition ")"
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from highway_core.engine.expression_nodes import (
    Applied,
    Arithmetic,
    Both,
    Comparison,
    Constant,
    Either,
    Items,
    Node,
    Operand,
    Text,
    Word,
)
from highway_core.engine.expression_tokens import Token, tokens_of
from highway_core.engine.expression_values import length, negative, positive, truth
from highway_core.engine.references import shorten
from highway_core.engine.templates import compile_text
from highway_core.errors import ExpressionError

MAX_DEPTH: Final = 32
"""How deep parentheses, lists, ``len``, ``not`` and signs may nest."""
MAX_TOKENS: Final = 2_000

_COMPARING: Final = frozenset({"==", "!=", "<", "<=", ">", ">="})


def parse_expression(text: str) -> Node:
    """The tree of ``text``; ExpressionError shows what could not be read and what to write instead."""
    return _Parser(text).parse()


class _Parser:
    """Recursive descent; one method for each line of the grammar."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = tokens_of(text)
        self._position = 0
        self._depth = 0
        if len(self._tokens) == 1:
            raise ExpressionError("The condition is empty.")
        if len(self._tokens) > MAX_TOKENS:
            raise ExpressionError(f"A condition may have {MAX_TOKENS:,} parts; this one has {len(self._tokens):,}.")

    def parse(self) -> Node:
        node = self._condition()
        if self._next.kind != "end":
            raise self._unexpected("an operator such as ==, and, or")
        return node

    @property
    def _next(self) -> Token:
        return self._tokens[self._position]

    def _take(self) -> Token:
        token = self._tokens[self._position]
        self._position += 1
        return token

    def _accept(self, *values: str) -> str | None:
        token = self._next
        if token.kind in {"symbol", "keyword"} and token.value in values:
            self._position += 1
            return str(token.value)
        return None

    def _expect(self, symbol: str) -> None:
        if self._accept(symbol) is None:
            raise self._unexpected(f"'{symbol}'")

    def _unexpected(self, wanted: str) -> ExpressionError:
        token = self._next
        found = "its end" if token.kind == "end" else repr(shorten(self._text[token.start : token.end]))
        return ExpressionError(f"{shorten(self._text)!r}: expected {wanted}, found {found}.")

    def _written(self, start: int) -> str:
        """What was written from the token at ``start`` up to here."""
        return self._text[self._tokens[start].start : self._tokens[self._position - 1].end]

    def _deeper(self, parse: Callable[[], Node]) -> Node:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ExpressionError(f"{shorten(self._text)!r} is nested deeper than {MAX_DEPTH} levels.")
        node = parse()
        self._depth -= 1
        return node

    def _condition(self) -> Node:
        return self._joined("or", self._both, Either)

    def _both(self) -> Node:
        return self._joined("and", self._negation, Both)

    def _joined(self, word: str, parse: Callable[[], Node], make: Callable[[str, tuple[Node, ...]], Node]) -> Node:
        start = self._position
        operands = [parse()]
        while self._accept(word):
            operands.append(parse())
        return operands[0] if len(operands) == 1 else make(self._written(start), tuple(operands))

    def _negation(self) -> Node:
        start = self._position
        if not self._accept("not"):
            return self._comparison()
        operand = self._deeper(self._negation)
        return Applied(self._written(start), _negated, operand)

    def _comparison(self) -> Node:
        return self._chain(self._comparator, self._sum, Comparison)

    def _comparator(self) -> str | None:
        if self._next.value == "not" and self._next.kind == "keyword":
            self._position += 1
            self._expect("in")
            return "not in"
        return self._accept("in", *_COMPARING)

    def _sum(self) -> Node:
        return self._calculated(self._chain(lambda: self._accept("+", "-"), self._product, Arithmetic))

    def _product(self) -> Node:
        return self._calculated(self._chain(lambda: self._accept("*", "/", "//", "%"), self._signed, Arithmetic))

    def _calculated(self, node: Node) -> Node:
        """A bare word beside a sign is text that lacks its quotes (``order-{{id}}``), not a number."""
        if isinstance(node, Arithmetic):
            for operand in (node.first, *(operand for _, operand in node.steps)):
                if isinstance(operand, Word):
                    raise ExpressionError(
                        f"{shorten(self._text)!r} calculates with the word {operand.text!r}; "
                        "text with references in it is written in quotes: 'order-{{id}}'."
                    )
        return node

    def _chain(
        self,
        symbol: Callable[[], str | None],
        parse: Callable[[], Node],
        make: Callable[[str, Node, tuple[tuple[str, Node], ...]], Node],
    ) -> Node:
        start = self._position
        first = parse()
        steps: list[tuple[str, Node]] = []
        while (found := symbol()) is not None:
            steps.append((found, parse()))
        return make(self._written(start), first, tuple(steps)) if steps else first

    def _signed(self) -> Node:
        start = self._position
        sign = self._accept("-", "+")
        if sign is None:
            return self._operand()
        operand = self._deeper(self._signed)
        return Applied(self._written(start), negative if sign == "-" else positive, operand)

    def _operand(self) -> Node:
        start = self._position
        token = self._next
        written = self._text[token.start : token.end]
        match token.kind:
            case "number" | "literal":
                self._position += 1
                return Constant(written, token.value)
            case "word":
                self._position += 1
                return self._word(start, token)
            case "reference":
                self._position += 1
                return Operand(written, token.value)
            case "text":
                self._position += 1
                return Text(written, compile_text(token.value))
            case _:
                return self._bracketed(start)

    def _word(self, start: int, token: Token) -> Node:
        if self._accept("(") is None:
            return Word(token.value, token.value)
        if token.value != "len":
            raise ExpressionError(f"{shorten(self._text)!r}: there is no function {token.value}(); only len().")
        operand = self._deeper(self._condition)
        self._expect(")")
        return Applied(self._written(start), length, operand)

    def _bracketed(self, start: int) -> Node:
        if self._accept("("):
            node = self._deeper(self._condition)
            self._expect(")")
            return node
        if self._accept("["):
            return self._deeper(lambda: self._list(start))
        raise self._unexpected("a value")

    def _list(self, start: int) -> Node:
        items: list[Node] = []
        while not self._accept("]"):
            if items:
                self._expect(",")
                if self._accept("]"):
                    break
            items.append(self._condition())
        return Items(self._written(start), tuple(items))


def _negated(value: Any) -> bool:
    return not truth(value)
