"""``tools.command.run``: one program with its arguments, without a shell between."""

from __future__ import annotations

import shlex
from pathlib import Path

from highway_core.errors import OutputLimitError, TaskTimeoutError
from highway_core.tools.child_process import run_program, shown_end
from highway_core.tools.decorators import tool


@tool("tools.command.run", stoppable=True)
def run(*words: str, timeout: float | None = 300) -> str:
    """What the program printed, without the blanks at its end.

    One string is split as a shell would (quotes and ``\\``; no pipes, no variables); several words are the program and
    its arguments as they are. RuntimeError when it fails, cannot be started, or runs longer than ``timeout`` seconds.
    """
    try:
        argv = _split(words)
        result = run_program(argv, timeout=timeout)
    except FileNotFoundError as error:
        raise RuntimeError(f"Command execution failed: there is no program '{_missing(error)}' on PATH.") from error
    except PermissionError as error:
        raise RuntimeError(f"Command execution failed: '{_missing(error)}' may not be executed.") from error
    except (OSError, ValueError, TaskTimeoutError, OutputLimitError) as error:
        raise RuntimeError(f"Command execution failed: {error}") from error
    if result.returncode != 0:
        raise RuntimeError(f"Command failed with exit code {result.returncode}: {shown_end(result.stderr)}")
    return result.stdout.rstrip()


def _split(words: tuple[str, ...]) -> list[str]:
    argv = shlex.split(words[0]) if len(words) == 1 else [str(word) for word in words]
    if not argv:
        raise ValueError("the command is empty")
    return argv


def _missing(error: OSError) -> str:
    return str(Path(error.filename)) if error.filename else "?"
