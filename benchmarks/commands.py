"""What whole commands cost: the time until ``cli.py run`` is over, and the memory of a large run."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from contenders import ROOT, clean_environment

_IMPORTS = [sys.executable, "-c", "import sqlalchemy, pydantic, yaml"]
_HELLO = [sys.executable, "cli.py", "run", "examples/hello.yaml"]


def start_up(folder: Path, rounds: int) -> dict[str, list[float]]:
    """Seconds of the hello workflow, in a database that exists and in a new one, and of three imports, by turns."""
    known = _settings(folder / "known.sqlite3")
    _run(_HELLO, known)
    seconds: dict[str, list[float]] = {"imports": [], "hello": [], "hello, new database": []}
    for number in range(rounds):
        seconds["imports"].append(_run(_IMPORTS, known)[0])
        seconds["hello"].append(_run(_HELLO, known)[0])
        seconds["hello, new database"].append(_run(_HELLO, _settings(folder / f"new{number}.sqlite3"))[0])
    return seconds


def memory(folder: Path, tasks: int) -> dict[str, float]:
    """The largest resident set, in MB, of ``cli.py run`` on a YAML file with so many tasks."""
    peaks = {}
    for shape, before in (("chain", "t{before}"), ("fan-out", "first")):
        file = folder / f"{shape}.yaml"
        file.write_text(_document(tasks, before))
        command = [sys.executable, "cli.py", "run", str(file)]
        peaks[shape] = _run(command, _settings(folder / "memory.sqlite3"))[1]
    return peaks


def _document(tasks: int, before: str) -> str:
    lines = ["name: large", "tasks:", "  first: {operator_type: task, function: tools.log.debug, args: [x]}"]
    for number in range(tasks - 1):
        dependency = before.format(before=number - 1) if number else "first"
        lines.append(
            f"  t{number}: {{operator_type: task, function: tools.log.debug, args: [x], dependencies: [{dependency}]}}"
        )
    return "\n".join(lines) + "\n"


def _settings(database: Path) -> dict[str, str]:
    return {**clean_environment(), "HIGHWAY_DATABASE_URL": f"sqlite:///{database}"}


def _run(command: list[str], environ: dict[str, str]) -> tuple[float, float]:
    """Seconds and the peak of the resident set in MB."""
    begin = time.perf_counter()
    process = subprocess.Popen(command, env=environ, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begin
    if status:
        raise SystemExit(f"{' '.join(command[1:])} failed; try it by hand.")
    kilobyte = 1 if sys.platform == "darwin" else 1024
    return seconds, usage.ru_maxrss * kilobyte / 1e6
