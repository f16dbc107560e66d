"""CEL expressions over plain values, by means of the package ``common-expression-language`` (the extra ``cel``).

CEL itself bounds what an expression can do: it has no loops but its macros over lists, of which an expression may use a
few.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from highway_core.errors import ExpressionError

MAX_LENGTH: Final = 10_000
"""The longest CEL expression, in characters."""
MAX_MACROS: Final = 4
"""How many of ``all``, ``exists``, ``exists_one``, ``filter`` and ``map`` one expression may use: each nested one
multiplies the work by the length of its list."""

_MACRO: Final = re.compile(r"\.\s*(?:all|exists|exists_one|filter|map)\s*\(")
_CEL_ERRORS: Final = (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError)
"""What the package raises for expressions that do not parse, names that do not exist and operands that do not fit."""
_SYNTAX: Final = re.compile(r"ERROR: <input>:(\d+):(\d+): (.+?)(?: expecting .*)?$", re.MULTILINE)
_SHOWN_TEXT: Final = 80
_SHOWN_ERROR: Final = 300


@dataclass(frozen=True, slots=True)
class CelExpression:
    """A compiled expression; threads share it. ``names`` are those of the known names that it mentions."""

    text: str
    program: Any
    names: frozenset[str]

    def value(self, values: Mapping[str, Any]) -> Any:
        """Its value, with ``values`` bound to the names; ExpressionError where the operands do not fit."""
        try:
            return self.program.execute(dict(values))
        except _CEL_ERRORS as error:
            missing = "no such key: " if isinstance(error, LookupError) else ""
            raise _refusal(self.text, f"{missing}{_cut(str(error), _SHOWN_ERROR)}") from error


@lru_cache(maxsize=1024)
def parse_cel(text: str, known: tuple[str, ...]) -> CelExpression:
    """Compile ``text``, which may mention the names in ``known``.

    ExpressionError if it is no CEL, mentions another name, or the extra is not installed.
    """
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"A CEL expression may have {MAX_LENGTH:,} characters; this one has {len(text):,}.")
    macros = len(_MACRO.findall(text))
    if macros > MAX_MACROS:
        raise ExpressionError(f"A CEL expression may use {MAX_MACROS} of all, exists, exists_one, filter and map.")
    try:
        import cel  # noqa: PLC0415 - an extra that most installations do without
    except ImportError as error:
        raise _refusal(text, "CEL expressions need the extra 'cel': pip install 'highway-core[cel]'.") from error
    try:
        program = cel.compile(text)
    except _CEL_ERRORS as error:
        raise _refusal(text, _syntax(str(error))) from error
    variables = set(program.variables())
    unknown = sorted(variables.difference(known))
    if unknown and not macros:  # a macro brings names of its own
        raise _refusal(text, f"'{unknown[0]}' is not known; there are {', '.join(known[:-1])} and {known[-1]}.")
    return CelExpression(text, program, frozenset(variables.intersection(known)))


def _syntax(message: str) -> str:
    """The package's account of a syntax error, in one line."""
    found = _SYNTAX.search(message)
    if found is None:
        return _cut(message.partition("\n")[0], _SHOWN_ERROR)
    return f"{_cut(found[3], _SHOWN_ERROR)} at line {found[1]}, column {found[2]}"


def _refusal(text: str, reason: str) -> ExpressionError:
    return ExpressionError(f"cel: {_cut(' '.join(text.split()), _SHOWN_TEXT)}: {reason}")


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
