"""Errors as a person reads them: ``Error:``, one clear sentence, and for a document all that is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable

from highway_core.cli.text import counted, indented, printable
from highway_core.errors import DocumentError, Problem

EXPECTED = (FileNotFoundError, RecursionError, MemoryError)
"""What a user can cause, beside every HighwayError."""


def error_message(error: BaseException) -> str:
    """What to print after ``Error:``."""
    match error:
        case DocumentError() if len(error.problems) > 1:
            source = printable(error.source or "the document")
            return "\n".join(
                [f"{source} has {counted(len(error.problems), 'problem')}:", *problem_lines(error.problems)]
            )
        case RecursionError():
            return "The document, or a value in the run, is nested too deeply."
        case MemoryError():
            return "There is not enough memory."
        case _:
            return indented(str(error), "  ")


def problem_lines(problems: Iterable[Problem]) -> list[str]:
    """One line each."""
    return [f"  - {indented(str(problem), '    ')}" for problem in problems]
