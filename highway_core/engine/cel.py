"""CEL expressions, behind ``cel:`` and in graph documents: the package ``common-expression-language``, an extra.

``output`` is what the caller binds to that name (a graph document's edge: the result of the node it leaves), ``ctx``
and ``context`` are the run's data by name. CEL itself bounds what an expression can do: it has no loops but its
macros over lists, of which an expression may use a few.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from highway_core.engine.expression_nodes import Node
from highway_core.engine.references import Lookup, Reference, shorten
from highway_core.errors import ExpressionError

MAX_LENGTH: Final = 10_000
"""The longest CEL expression, in characters."""
MAX_MACROS: Final = 4
"""How many of ``all``, ``exists``, ``exists_one``, ``filter`` and ``map`` one expression may use: each nested one
multiplies the work by the length of its list."""

OUTPUT: Final = Reference(("output",), "output")
CONTEXT: Final = Reference(("context",), "context")

_NAMES: Final = {"output": OUTPUT, "context": CONTEXT, "ctx": CONTEXT}
_MACRO: Final = re.compile(r"\.\s*(?:all|exists|exists_one|filter|map)\s*\(")
_CEL_ERRORS: Final = (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError)
"""What the package raises for expressions that do not parse, names that do not exist and operands that do not fit."""


@dataclass(frozen=True, slots=True)
class CelProgram(Node):
    """A compiled CEL expression. It looks its names up by itself, so it needs the whole of what it mentions."""

    text: str
    program: Any
    names: tuple[Reference, ...]

    @property
    def references(self) -> tuple[Reference, ...]:
        return self.names

    def value(self, lookup: Lookup) -> Any:
        bound: dict[str, Any] = {"output": lookup.find(OUTPUT) if OUTPUT in self.names else None}
        context = dict(lookup.context()) if CONTEXT in self.names else {}
        try:
            return self.program.execute({**bound, "context": context, "ctx": context})
        except _CEL_ERRORS as error:
            missing = "no such key: " if isinstance(error, LookupError) else ""
            raise ExpressionError(f"cel: {shorten(self.text)}: {missing}{shorten(str(error), 300)}") from error


def compile_cel(text: str) -> CelProgram:
    """Compile ``text`` (without the prefix); ExpressionError if it is no CEL, or the extra is not installed."""
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"A CEL expression may have {MAX_LENGTH:,} characters; this one has {len(text):,}.")
    macros = len(_MACRO.findall(text))
    if macros > MAX_MACROS:
        raise ExpressionError(f"A CEL expression may use {MAX_MACROS} of all, exists, exists_one, filter and map.")
    try:
        import cel  # noqa: PLC0415 - an extra that most installations do without
    except ImportError as error:
        raise ExpressionError(
            f"cel: {shorten(text)}: CEL expressions need the extra 'cel': pip install 'highway-core[cel]'."
        ) from error
    try:
        program = cel.compile(text)
    except _CEL_ERRORS as error:
        raise ExpressionError(f"cel: {shorten(text)}: {shorten(str(error), 300)}") from error
    variables = sorted(program.variables())
    unknown = [name for name in variables if name not in _NAMES]
    if unknown and not macros:  # a macro brings names of its own
        raise ExpressionError(f"cel: {shorten(text)}: '{unknown[0]}' is not known; there are output, context and ctx.")
    names = tuple(dict.fromkeys(_NAMES[name] for name in variables if name in _NAMES))
    return CelProgram(text, program, names)
