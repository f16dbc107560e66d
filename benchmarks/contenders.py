"""Who is measured: a script of ``peers/`` each, the Python that runs it, and the environment that it gets.

A sample is one process: it prepares, runs once and prints its times. Nothing that one contender leaves running, cached
or fragmented reaches another.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from environments import environment

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
_LONGEST_SAMPLE = 600

PACKAGES = {
    "luigi": ["luigi>=3.6,<4"],
    # Prefect 3.8 asks for fastapi<1, but does not start with those that came later than this one.
    "prefect": ["prefect>=3.1,<4", "fastapi<0.140"],
}
"""What pip installs for a peer."""

_PREFECT = {
    "PREFECT_SERVER_EPHEMERAL_ENABLED": "true",  # a server of its own on a SQLite file, while the process lives
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_TELEMETRY_ENABLE_RESOURCE_METRICS": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_TO_API_ENABLED": "false",
}
"""Offline and quiet. Nothing is turned off that Prefect needs to remember its runs."""


@dataclass(frozen=True)
class Contender:
    """One line of the table."""

    name: str
    script: str
    python: str = sys.executable
    environ: dict[str, str] = field(default_factory=dict)
    few: bool = False
    """It takes seconds a sample, so it is not asked in every round."""

    def sample(self, shape: str, tasks: int) -> dict[str, Any]:
        """One run in a new process: its number of tasks, and seconds."""
        command = [self.python, str(HERE / "peers" / self.script), shape, str(tasks)]
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            environ = {**clean_environment(), "PREFECT_HOME": folder, **self.environ}
            done = subprocess.run(
                command,
                env=environ,
                cwd=folder,
                capture_output=True,
                text=True,
                timeout=_LONGEST_SAMPLE,
                check=False,
            )
        if done.returncode:
            raise SystemExit(f"{self.name} failed:\n{done.stderr[-3000:]}")
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return answer


def clean_environment() -> dict[str, str]:
    """This process's environment without the user's own settings of what is measured."""
    mine = ("HIGHWAY_", "PREFECT_", "LUIGI_", "PYTHON")
    return {name: value for name, value in os.environ.items() if not name.startswith(mine)}


def contenders(venvs: Path, without: set[str]) -> list[Contender]:
    """All of them, in the order in which they are asked; makes the virtual environments that are missing."""
    found = [
        Contender("bare threads", "bare_threads.py"),
        Contender("Highway", "highway_run.py", environ={"PYTHONPATH": str(ROOT)}),
        Contender("bare inline", "bare_inline.py"),
    ]
    if "luigi" not in without:
        found.append(Contender("Luigi", "luigi_tasks.py", environment(venvs, "luigi", PACKAGES["luigi"]), few=True))
    if "prefect" not in without:
        found.append(
            Contender(
                "Prefect", "prefect_flow.py", environment(venvs, "prefect", PACKAGES["prefect"]), _PREFECT, few=True
            )
        )
    return found
