"""``tools.shell.run``: a command line for ``/bin/sh``, with its pipes, redirections and variables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from highway_core.errors import TaskError
from highway_core.tools.child_process import run_program, shown_end
from highway_core.tools.decorators import tool


@tool("tools.shell.run", stoppable=True)
def run(
    command: str,
    *,
    cwd: str | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float | None = None,
) -> dict[str, Any]:
    """``{stdout, stderr, returncode}``; a code other than zero fails the task with the end of stderr.

    Values that a document places into ``command`` with ``{{…}}`` are quoted for where they stand before they come here
    (:mod:`highway_core.utils.quoting`). ``env`` is added to the environment; ``timeout`` is in seconds.
    """
    if not isinstance(command, str) or not command.strip():
        raise TaskError(f"tools.shell.run needs a command line, not {command!r}.")
    try:
        result = run_program(["/bin/sh", "-c", command], cwd=cwd, env=env, timeout=timeout)
    except (OSError, ValueError) as error:
        raise TaskError(f"The shell could not be started: {error}") from error
    if result.returncode != 0:
        said = shown_end(result.stderr) or shown_end(result.stdout)
        raise TaskError(f"Command failed with exit code {result.returncode}: {said}")
    return {"stdout": result.stdout, "stderr": result.stderr, "returncode": result.returncode}
