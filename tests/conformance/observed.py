"""What a run looks like from outside, whichever mode carried it out: what the conformance table is held against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

TOOLS = Path(__file__).parent.parent / "data" / "tools"


@dataclass(frozen=True)
class Observed:
    """The end of one run."""

    status: str
    error: str | None
    result: Any
    tasks: Mapping[str, str]
    """Instance path → status."""
    results: Mapping[str, Any]
    """Result key → value, of the run's own scope."""
    values: Mapping[str, Any]
    """Instance path → result."""
    reasons: Mapping[str, str | None]
    """Instance path → error, or why it was skipped."""
    attempts: Mapping[str, int]
    memory: Mapping[str, Any]
    variables: Mapping[str, Any]


class Mode(Protocol):
    """One way to run a document."""

    name: str

    def run(self, case: Case) -> Observed:
        """DocumentError if the document is refused."""
        ...


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    name: str
    document: Mapping[str, Any]
    inputs: Mapping[str, Any] = field(default_factory=dict)
    expect: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""
    modes: tuple[str, ...] = ()
    """Empty: every mode. Else only modes whose name begins with one of these."""
    definitions: tuple[Mapping[str, Any], ...] = ()
    """Further documents that the run can start by their names."""
