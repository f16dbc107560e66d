"""What the tools that start a program of the machine share: its environment, its limits, the end of what it printed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from highway_core.config import Settings
from highway_core.tools.context import current_context, tool_settings
from highway_core.utils.processes import ProcessResult, run_process

_SHOWN = 2_000
"""How much of what a program printed goes into an error message."""
_KEPT_BACK = frozenset(
    {
        "DATABASE_URL",
        "DB_PASSWORD",
        "HIGHWAY_API_KEY",
        "HIGHWAY_DATABASE_URL",
        "HIGHWAY_LLM_API_KEY",
        "HIGHWAY_SMTP_PASSWORD",
        "POSTGRES_PASSWORD",
    }
)
_SECRETS = "HIGHWAY_SECRET_"


def run_program(
    argv: Sequence[str],
    *,
    cwd: str | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float | None = None,
) -> ProcessResult:
    """Run ``argv`` for the attempt of this thread: it ends when the attempt is stopped, as :func:`run_process` has it.

    ``env`` is added to the environment of this process.
    """
    context = current_context()
    settings = tool_settings()
    return run_process(
        argv,
        stop=context.stop if context else None,
        env=program_environment(settings, env),
        cwd=Path(cwd).expanduser() if cwd else None,
        max_output=settings.max_output_bytes,
        timeout=timeout,
    )


def program_environment(settings: Settings, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment without Highway's own secrets, and ``extra`` (numbers become text) on top."""
    inherited = {
        name: value
        for name, value in settings.environ.items()
        if name not in _KEPT_BACK and not name.startswith(_SECRETS)
    }
    return inherited | {str(name): str(value) for name, value in (extra or {}).items()}


def shown_end(text: str) -> str:
    """The end of ``text``, which is where programs say what went wrong."""
    text = text.strip()
    return text if len(text) <= _SHOWN else f"…{text[-_SHOWN:]}"
