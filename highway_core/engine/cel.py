"""CEL expressions behind ``cel:`` and in graph documents, over the data of a run.

``output`` is what the caller binds to that name (a graph document's edge: the result of the node it leaves), ``ctx``
and ``context`` are the run's data by name. What an expression may use stands in
:mod:`~highway_core.utils.cel_values`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from highway_core.engine.expression_nodes import Node
from highway_core.engine.references import Lookup, Reference
from highway_core.utils.cel_values import CelExpression, parse_cel

OUTPUT: Final = Reference(("output",), "output")
CONTEXT: Final = Reference(("context",), "context")

_NAMES: Final = {"output": OUTPUT, "context": CONTEXT, "ctx": CONTEXT}


@dataclass(frozen=True, slots=True)
class CelProgram(Node):
    """A compiled CEL expression. It looks its names up by itself, so it needs the whole of what it mentions."""

    text: str
    program: CelExpression
    names: tuple[Reference, ...]

    @property
    def references(self) -> tuple[Reference, ...]:
        return self.names

    def value(self, lookup: Lookup) -> Any:
        output = lookup.find(OUTPUT) if OUTPUT in self.names else None
        context = dict(lookup.context()) if CONTEXT in self.names else {}
        return self.program.value({"output": output, "context": context, "ctx": context})


def compile_cel(text: str) -> CelProgram:
    """Compile ``text`` (without the prefix); ExpressionError if it is no CEL, or the extra is not installed."""
    program = parse_cel(text, tuple(_NAMES))
    names = tuple(dict.fromkeys(_NAMES[name] for name in sorted(program.names)))
    return CelProgram(text, program, names)
