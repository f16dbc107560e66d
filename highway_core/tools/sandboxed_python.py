"""Python in the sandbox of the attempt: what ``tools.code.exec`` and ``tools.python.run`` share."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from highway_core.errors import TaskError
from highway_core.tools.child_process import shown_end
from highway_core.tools.context import SandboxRequest, SandboxResult, ToolContext

_INTERPRETER = (sys.executable, "-I", "-B", "-X", "utf8")
"""Isolated: neither the environment nor the current folder decides what is imported."""


def run_python(
    context: ToolContext,
    arguments: tuple[str, ...],
    *,
    what: str,
    stdin: bytes,
    timeout: float | None = None,
    files: Mapping[str, Path] | None = None,
) -> SandboxResult:
    """Run Python with ``arguments``; TaskError, which calls it ``what``, with the end of stderr if it fails."""
    if context.sandbox is None:
        raise TaskError(f"{what} needs a sandbox, and this attempt has none.")
    request = SandboxRequest((*_INTERPRETER, *arguments), stdin=stdin, timeout=timeout, files=files or {})
    result = context.sandbox(request, context)
    if result.returncode != 0:
        raise TaskError(f"{what} ended with exit code {result.returncode}: {shown_end(result.stderr)}")
    return result


def parsed(text: str, what: str) -> Any:
    """What ``text`` holds as JSON; TaskError if it is none."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise TaskError(f"{what} is not JSON: {error}") from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"it has no {name}")
