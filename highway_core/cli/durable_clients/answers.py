"""What came back for a request: JSON, or the problem document that says why not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

from highway_core.errors import DocumentError, HighwayError, Problem

UNREACHABLE, TIMEOUT = "unreachable", "timeout"
NOBODY_THERE = frozenset({UNREACHABLE, TIMEOUT})
"""Codes of refusals that no API has spoken."""


class RefusedError(HighwayError):
    """A request that was understood and refused; ``code`` is the stable word of the problem document."""

    def __init__(self, status: int, code: str, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.code = code


@dataclass(frozen=True, slots=True)
class Request:
    """One call of the API."""

    method: str
    path: str
    query: Mapping[str, str]
    body: Any = None
    headers: Mapping[str, str] | None = None
    patience: float = 0.0
    """Seconds that the answer may take longer than usual, because it was asked to wait."""


class Transport(Protocol):
    """Brings a request to an API and its answer back. HighwayError, in one sentence, if that cannot be done."""

    def send(self, request: Request) -> tuple[int, bytes]:
        """Status and body."""
        ...

    def close(self) -> None: ...


def json_of(status: int, body: bytes) -> Any:
    """The answer; RefusedError or DocumentError if it is a problem."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        raise RefusedError(status, "", f"The answer (HTTP {status}) is not Highway's. Is that its API?") from None
    if status >= 400:
        _refuse(status, data if isinstance(data, dict) else {})
    return data


def _refuse(status: int, problem: dict[str, Any]) -> NoReturn:
    problems = [_problem(one) for one in problem.get("problems") or () if isinstance(one, dict)]
    if problem.get("code") == "invalid_document" and problems:
        raise DocumentError(problems)
    text = str(problem.get("detail") or problem.get("title") or problem.get("error") or f"HTTP {status}")
    if problem.get("code") == "unknown_token":
        text = "No approval has that token. It stands behind 'token=' in the link."
    existing = problem.get("existing_run_id")
    if existing and str(existing) not in text:
        text += f" It is run '{existing}'."
    raise RefusedError(status, str(problem.get("code", "")), text)


def _problem(one: dict[str, Any]) -> Problem:
    return Problem(*(str(one.get(name) or "") for name in ("place", "message", "hint", "position")))
