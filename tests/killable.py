"""LOCAL runs in a process of their own, which a test can kill: what they did stands in a file, line by line.

The tool ``count.step`` writes ``<run id>:<instance path>`` into ``counted`` before it does anything else. A process can
be told to hold still after so many lines, so that the one who kills it never comes too late.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from highway_core.config import Settings
from highway_core.engine.engine import run_workflow
from highway_core.errors import HighwayError
from highway_core.lifecycle import TaskStatus
from highway_core.persistence.file_storage import FilePersistenceManager
from highway_core.persistence.manager import PersistenceManager, RunChanges, SavedRun
from highway_core.persistence.sql_persistence import SQLPersistenceManager
from tests.waiting import eventually

ROOT = Path(__file__).parent.parent
RUN = "r"
_HOLD = "HOLD_AFTER_LINES"
_TOOLS = f"""
import os
from itertools import count
from pathlib import Path

from highway_core.tools.context import ToolContext
from highway_core.tools.decorators import tool

FOLDER = Path(__file__).parent.parent
LIMIT = int(os.environ.get("{_HOLD}", "0"))
lines = count(1)


def note(context):
    line = f"{{context.run_id}}:{{context.task_id}}\\n".encode()
    with open(FOLDER / "counted", "ab", buffering=0) as file:
        file.write(line)
    if LIMIT and next(lines) >= LIMIT:
        context.stop.wait(600)


@tool("count.step", stoppable=True)
def step(context: ToolContext, value=None, plus=0, seconds=0):
    note(context)
    context.stop.wait(seconds)
    return value + plus if plus else value


@tool("count.fail_until", stoppable=True)
def fail_until(context: ToolContext, name):
    note(context)
    if not (FOLDER / name).exists():
        raise RuntimeError(f"there is no {{name}}")
    return name


@tool("count.until", stoppable=True)
def until(context: ToolContext, name):
    note(context)
    while not (FOLDER / name).exists() and not context.stop.wait(0.01):
        pass


@tool("count.remember", transactional=True)
def remember(context: ToolContext, key, value):
    context.state.memory[key] = [*context.state.memory.get(key, ()), value]


@tool("count.set_variable")
def set_variable(context: ToolContext, name, value):
    context.set_variable(name, value)
"""


def step(*dependencies: str, **kwargs: Any) -> dict[str, Any]:
    """A task that is counted; it returns ``value``, with ``plus`` added."""
    more = {name: kwargs.pop(name) for name in ("task_id", "result_key") if name in kwargs}
    return {
        "operator_type": "task",
        "function": "count.step",
        "kwargs": kwargs,
        "dependencies": list(dependencies),
        **more,
    }


@dataclass(frozen=True)
class Ended:
    """What a process said at its end."""

    status: str | None
    result: Any = None
    error: str | None = None


class KillableRuns:
    """Runs documents in child processes; one folder and one store."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder = folder
        self.kind = kind
        self.store = store_of(kind, folder)
        (folder / "tools").mkdir()
        (folder / "tools" / "count_tools.py").write_text(_TOOLS, encoding="utf-8")

    def write(self, document: Mapping[str, Any], name: str = "flow") -> None:
        path = self.folder / f"{name}.json"
        path.write_text(json.dumps({"name": name, **document}), encoding="utf-8")

    def start(self, *, hold_after: int = 0, run_id: str = RUN) -> subprocess.Popen[str]:
        """Begin or resume the run of ``flow``; the process holds still after ``hold_after`` lines (0: never)."""
        return subprocess.Popen(
            [sys.executable, "-m", "tests.killable", self.kind, str(self.folder), run_id],
            cwd=ROOT,
            env={**os.environ, _HOLD: str(hold_after)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, run_id: str = RUN) -> Ended:
        """Begin or resume the run, and wait for its end."""
        return ended(self.start(run_id=run_id))

    def kill_at(self, lines: int, hold_after: int) -> SavedRun:
        """Start the run, ``kill -9`` its process when there are ``lines`` lines, and return what is stored then."""
        process = self.start(hold_after=hold_after)
        reached = eventually(lambda: len(self.lines()) >= lines or process.poll() is not None, within=60)
        return self.kill(process) if reached else self.kill(process, f"only {len(self.lines())} lines")

    def kill(self, process: subprocess.Popen[str], unless: str = "") -> SavedRun:
        """``kill -9`` a process that runs, and return what is stored then."""
        process.kill()
        _, stderr = process.communicate(timeout=60)
        assert not unless, f"{unless}: {stderr}"
        assert process.returncode == -signal.SIGKILL, stderr
        return self.saved()

    def saved(self, run_id: str = RUN) -> SavedRun:
        saved = self.store.load_run(run_id)
        assert saved is not None
        return saved

    def let_time_pass(self, path: str) -> None:
        """Whatever the stored task waits for is due."""
        row = self.saved().tasks[path]
        self.store.save(RunChanges(RUN, tasks=[row._replace(wake_up_at=row.created_at)]))

    def lines(self) -> list[str]:
        """What was started so far, in order, as ``<run id>:<instance path>``."""
        try:
            return (self.folder / "counted").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []

    def counted(self) -> Counter[str]:
        return Counter(self.lines())


def ended(process: subprocess.Popen[str]) -> Ended:
    """What a process said; AssertionError if it did not come to its end."""
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    return Ended(**json.loads(stdout))


def completed(saved: SavedRun) -> set[str]:
    """The tasks that need not be started again, as they are counted."""
    run_id = saved.record.run_id
    return {f"{run_id}:{path}" for path, row in saved.tasks.items() if row.status is TaskStatus.COMPLETED}


def store_of(kind: str, folder: Path) -> PersistenceManager:
    if kind == "sqlite":
        return SQLPersistenceManager(folder / "runs.sqlite3")
    return FilePersistenceManager(folder / "runs")


def main(kind: str, folder: str, run_id: str) -> Ended:
    here = Path(folder)
    store = store_of(kind, here)
    try:
        told = run_workflow(
            here / "flow.json", run_id, persistence_manager=store, settings=Settings(tools_dir=here / "tools")
        )
        return Ended(told["status"], told["result"], told["error"])
    except HighwayError as error:
        return Ended(None, error=f"{type(error).__name__}: {error}")
    finally:
        store.close()


if __name__ == "__main__":
    print(json.dumps(asdict(main(*sys.argv[1:]))))
