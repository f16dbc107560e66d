"""The words of a condition: cuts its text into tokens, each with its place, before any value is known."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from highway_core.engine.references import MARKER, SUPPORTED, reference_of, shorten
from highway_core.errors import ExpressionError

MAX_LENGTH: Final = 10_000
"""The longest condition, in characters."""
MAX_DIGITS: Final = 300

_TOKEN: Final = re.compile(
    r"""(?P<blank>\s+)
      | (?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)
      | (?P<text>'(?:[^'\\]|\\.)*+'|"(?:[^"\\]|\\.)*+")
      | (?P<word>[^\W\d]\w*(?:-\w+)*)
      | (?P<symbol><=|>=|==|!=|//|\*\*|&&|\|\||[-+*/%<>()\[\],=!&|?:;.{}~^@$])
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", "'": "'", '"': '"'}
_KEYWORDS: Final = frozenset({"and", "or", "not", "in"})
_WORDS: Final[dict[str, bool | None]] = {"true": True, "false": False, "null": None, "none": None}
_FOREIGN: Final = {
    "&&": "write 'and'",
    "||": "write 'or'",
    "!": "write 'not'",
    "=": "write '==' to compare",
    "**": "there is no power operator",
    "&": "write 'and'",
    "|": "filters are not supported; write 'or' for a choice",
    "?": "there is no '? :'",
    "{": "a reference has two braces, as in {{report.id}}",
}


@dataclass(frozen=True, slots=True)
class Token:
    """``kind`` is number, text, word, literal, reference, keyword, symbol or end; ``value`` what it stands for."""

    kind: str
    value: Any
    start: int
    end: int


def tokens_of(text: str) -> list[Token]:
    """All tokens of ``text``, closed by one of kind ``end``; ExpressionError shows what cannot be read."""
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"A condition may have {MAX_LENGTH:,} characters; this one has {len(text):,}.")
    tokens: list[Token] = []
    position = 0
    while position < len(text):
        token = _reference(text, position) if text.startswith("{{", position) else _token(text, position)
        if token.kind != "blank":
            _check_neighbours(text, tokens, token)
            tokens.append(token)
        position = token.end
    tokens.append(Token("end", "", len(text), len(text)))
    return tokens


def _reference(text: str, position: int) -> Token:
    marker = MARKER.match(text, position)
    if marker is None:
        end = text.find("}}", position)
        found = text[position : end + 2] if end >= 0 else text[position:]
        raise ExpressionError(f"{shorten(found)!r} is not a reference. {SUPPORTED}")
    if marker["path"] is None:
        return Token("literal", marker[0][2:-2].strip()[1:-1], position, marker.end())
    return Token("reference", reference_of(marker["path"]), position, marker.end())


def _token(text: str, position: int) -> Token:
    found = _TOKEN.match(text, position)
    if found is None:
        raise ExpressionError(_unreadable(text, position))
    kind = str(found.lastgroup)
    end = found.end()
    match kind:
        case "number":
            return Token(kind, _number(found[0]), position, end)
        case "text":
            return Token(kind, _ESCAPE.sub(_unescaped, found[0][1:-1]), position, end)
        case "word":
            return _word(text, position, end)
        case "symbol" if found[0] in _FOREIGN:
            raise ExpressionError(f"{found[0]!r} in {shorten(text)!r}: {_FOREIGN[found[0]]}.")
        case _:
            return Token(kind, found[0], position, end)


def _word(text: str, start: int, end: int) -> Token:
    word = text[start:end]
    if word in _KEYWORDS:
        return Token("keyword", word, start, end)
    if text[end : end + 1] in {".", "["}:
        raise ExpressionError(_needs_braces(text, start))
    if word.lower() in _WORDS:
        return Token("literal", _WORDS[word.lower()], start, end)
    return Token("word", word, start, end)


def _number(digits: str) -> int | float:
    if len(digits) > MAX_DIGITS:
        raise ExpressionError(f"A number may have {MAX_DIGITS} digits: {shorten(digits)}")
    if digits.isdigit():
        return int(digits)
    value = float(digits)
    if value == float("inf"):
        raise ExpressionError(f"The number {digits} is too large.")
    return value


def _unescaped(escape: re.Match[str]) -> str:
    return _ESCAPES.get(escape[1], escape[0])


def _check_neighbours(text: str, before: list[Token], token: Token) -> None:
    """Values never run into each other: ``5x``, ``{{a}}{{b}}`` and ``order-{{id}}`` are not operands."""
    kinds = {"number", "text", "word", "literal", "reference"}
    if not before or token.kind not in kinds or before[-1].kind not in kinds:
        return
    for word in (before[-1].value, token.value):
        if isinstance(word, str) and word.lower() in _KEYWORDS:
            raise ExpressionError(f"'{word}' in {shorten(text)!r}: write '{word.lower()}' in lower case.")
    seen = text[before[-1].start : token.end]
    raise ExpressionError(
        f"{shorten(seen)!r} in {shorten(text)!r} has no operator between its parts. "
        "Text of several words, or with references in it, is written in quotes: 'order {{id}}'."
    )


def _needs_braces(text: str, position: int) -> str:
    path = re.compile(r"[\w.\-]+(?:\[[^\]\n]*\][\w.\-]*)*").match(text, position)
    name = path[0] if path else text[position:]
    return f"'{shorten(name)}' in {shorten(text)!r} needs braces: {{{{{shorten(name)}}}}}, or quotes if it is text."


def _unreadable(text: str, position: int) -> str:
    character = text[position]
    if character in "'\"":
        return f"A text that starts at {shorten(text[position:], 30)!r} is not closed with {character}."
    return f"{character!r} in {shorten(text)!r} means nothing here; text is written in 'quotes'."
