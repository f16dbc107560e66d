"""Everything that is wrong with one document, collected while it is checked, each with its place and position."""

from __future__ import annotations

from dataclasses import replace

from highway_core.engine.source_document import Place, SourceDocument, place_text
from highway_core.errors import DocumentError, Problem


class Report:
    """Problems stop a document from starting; warnings only say what its author may not have meant."""

    def __init__(self, document: SourceDocument | None = None, source: str = "") -> None:
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self._document = document
        self._source = source

    def add(self, place: Place, message: str, hint: str = "", inside: str = "") -> None:
        """Note a problem; checking goes on. ``inside`` is where in the value at ``place``, as text (``[0].url``)."""
        problem = self._problem(place, message, hint)
        self.problems.append(replace(problem, place=problem.place + inside) if inside else problem)

    def warn(self, place: Place, message: str, hint: str = "") -> None:
        """Note a warning."""
        self.warnings.append(self._problem(place, message, hint))

    def _problem(self, place: Place, message: str, hint: str) -> Problem:
        position = self._document.position(place) if self._document else ""
        return Problem(place_text(place), message, hint, position)

    def raise_any(self) -> None:
        """DocumentError with all problems, if there are any."""
        if self.problems:
            unique = sorted(dict.fromkeys(self.problems), key=_in_document_order)
            raise DocumentError(unique, self._source, self.warnings)


def _in_document_order(problem: Problem) -> tuple[int, int]:
    """Line and column, from ``file:line:column``; what has no position keeps its turn."""
    *_, line, column = ["0", "0", *problem.position.split(":")]
    return (int(line), int(column)) if line.isdecimal() and column.isdecimal() else (0, 0)
