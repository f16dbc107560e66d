"""Documents of any size and depth, and a process of its own to measure a run in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from highway_core.config import Settings
from highway_core.engine.engine import LocalEngine
from highway_core.engine.loader import read_source
from highway_core.lifecycle import TaskStatus
from highway_core.persistence.sql_persistence import SQLPersistenceManager

Task = dict[str, Any]
Document = dict[str, Any]

ROOT = Path(__file__).parent.parent


def quick(*dependencies: str, **more: Any) -> Task:
    """A task that takes no time."""
    task = {"operator_type": "task", "function": "tools.log.debug", "args": ["x"], "dependencies": list(dependencies)}
    return task | more


def _document(tasks: dict[str, Task], **more: Any) -> Document:
    return {"name": "big", **more, "tasks": tasks}


def chain(size: int) -> Document:
    return _document({f"t{n}": quick(*([f"t{n - 1}"] if n else [])) for n in range(size)})


def fan_out(size: int) -> Document:
    middle = {f"t{n}": quick("begin") for n in range(size)}
    return _document({"begin": quick(), **middle, "end": quick(*middle)})


def dead_chain(size: int) -> Document:
    """Nobody knows before the run that the condition does not hold."""
    check = {"operator_type": "condition", "condition": "{{variables.go}}", "if_true": "t0", "dependencies": []}
    tasks = {f"t{n}": quick(f"t{n - 1}" if n else "check") for n in range(size)}
    return _document({"check": check, **tasks}, variables={"go": False})


def loop_over_items(size: int) -> Document:
    body = [quick(task_id="one", args=["{{item}}"])]
    loop = {"operator_type": "foreach", "items": "{{variables.items}}", "parallel": True, "loop_body": body}
    return _document({"each": loop, "end": quick("each")}, variables={"items": list(range(size))})


def conditions(size: int) -> Document:
    """Each follows the one before, whose arms it waits for."""
    tasks: dict[str, Task] = {}
    for n in range(size):
        tasks[f"c{n}"] = {
            "operator_type": "condition",
            "condition": "{{variables.go}}",
            "if_true": f"a{n}",
            "if_false": f"b{n}",
            "dependencies": [f"c{n - 1}"] if n else [],
        }
        tasks |= {f"a{n}": quick(f"c{n}"), f"b{n}": quick(f"c{n}")}
    return _document(tasks, variables={"go": True})


def constant_conditions(size: int) -> Document:
    """The same, but everybody can see which arms are dead."""
    return conditions(size) | {"tasks": {name: _always(task) for name, task in conditions(size)["tasks"].items()}}


def _always(task: Task) -> Task:
    return {**task, "condition": "true"} if "condition" in task else task


def named_by_the_last(size: int) -> Document:
    """A chain of conditions, and one task that names them all, as highway-dsl does with the tasks of nested arms."""
    tasks: dict[str, Task] = {}
    for n in range(size):
        tasks[f"c{n}"] = {
            "operator_type": "condition",
            "condition": "{{variables.go}}",
            "if_true": f"a{n}",
            "dependencies": [f"a{n - 1}"] if n else [],
        }
        tasks[f"a{n}"] = quick(f"c{n}")
    return _document({**tasks, "end": quick(*(f"c{n}" for n in range(size)))}, variables={"go": True})


def loops_side_by_side(size: int) -> Document:
    body = [quick(task_id="one")]
    return _document({f"l{n}": {"operator_type": "foreach", "items": [1], "loop_body": body} for n in range(size)})


def wrong_names(size: int) -> Document:
    return _document({f"task_{n}": quick(f"tosk_{n}") for n in range(size)})


def nested_foreach(depth: int) -> Document:
    task = quick(task_id="inside")
    for n in range(depth):
        task = {"task_id": f"l{n}", "operator_type": "foreach", "items": [n], "loop_body": [task]}
    return _document({task.pop("task_id"): task})


def nested_while(depth: int) -> Document:
    task: Task = {"task_id": "inside", "operator_type": "task", "function": "tools.memory.increment", "args": ["n"]}
    for n in range(depth):
        task = {
            "task_id": f"l{n}",
            "operator_type": "while",
            "condition": "{{memory.n}} == null",
            "loop_body": [task],
        }
    return _document({task.pop("task_id"): task})


def nested_parallel(depth: int) -> Document:
    """As highway-dsl 2.0.2 and later write it."""
    tasks = {"inside": quick()}
    for n in range(depth):
        branch = {"tasks": tasks}
        tasks = {f"p{n}": {"operator_type": "parallel", "branches": {}, "branch_workflows": {"only": branch}}}
    return _document(tasks)


def nested_parallel_by_id(depth: int) -> Document:
    """As highway-dsl 1.x writes it: each operator lists everything inside it."""
    names = [*(f"p{n}" for n in range(depth)), "inside"]
    tasks: dict[str, Task] = {"inside": quick(names[-2])}
    for n in range(depth):
        branches = {"only": names[n + 1 :]}
        dependencies = names[n - 1 : n] if n else []
        tasks[names[n]] = {"operator_type": "parallel", "branches": branches, "dependencies": dependencies}
    return _document(tasks)


def nested_choices(depth: int) -> Document:
    tasks = {"inside": quick()}
    for n in range(depth):
        choice = {"operator_type": "multi_choice", "branches": {"only": {"condition": "true", "tasks": list(tasks)}}}
        tasks = {f"m{n}": {**choice, "branch_workflows": {"only": {"tasks": tasks}}}}
    return _document(tasks)


def nested_arms(depth: int) -> Document:
    """As highway-dsl writes it: every task in an arm names the condition."""
    tasks: dict[str, Task] = {}
    for n in range(depth):
        around = [f"c{n - 1}"] if n else []
        tasks[f"c{n}"] = {
            "operator_type": "condition",
            "condition": "{{variables.go}}",
            "if_true": f"c{n + 1}" if n + 1 < depth else "inside",
            "if_false": f"e{n}",
            "dependencies": around,
        }
        tasks[f"e{n}"] = quick(f"c{n}")
    return _document({**tasks, "inside": quick(f"c{depth - 1}")}, variables={"go": True})


def nested_mixture(depth: int) -> Document:
    """A while in a foreach in a branch in a while …; inside each while the next operator is an arm of a condition."""
    tasks = {"inside": quick()}
    for n in range(depth):
        match n % 3:
            case 0:
                operator: Task = {"operator_type": "parallel", "branches": {}}
                operator["branch_workflows"] = {"b": {"tasks": tasks}}
            case 1:
                operator = {"operator_type": "foreach", "items": [n], "loop_body": _listed(tasks)}
            case _:
                ((name, task),) = tasks.items()
                body = {
                    f"c{n}": {"operator_type": "condition", "condition": "true", "if_true": name, "dependencies": []},
                    name: {**task, "dependencies": [f"c{n}"]},
                    f"k{n}": quick(name, function="tools.memory.increment", args=[f"n{n}"]),
                }
                condition = f"{{{{memory.n{n}}}}} == null"
                operator = {"operator_type": "while", "condition": condition, "loop_body": _listed(body)}
        tasks = {f"o{n}": operator}
    return _document(tasks)


def _listed(tasks: dict[str, Task]) -> list[Task]:
    return [{"task_id": task_id, **task} for task_id, task in tasks.items()]


@dataclass(frozen=True)
class Measured:
    """One run in a process of its own: seconds, mebibytes, and rows by status."""

    status: str
    loading: float
    running: float
    memory: float
    rows: dict[str, int]


def measured(build: Callable[[int], Document], size: int, folder: Path, suffix: str = ".json") -> Measured:
    """Load and run the document in a child process, every task saved to SQLite."""
    path = folder / f"big{suffix}"
    text = json.dumps(build(size)) if suffix == ".json" else yaml.safe_dump(build(size), sort_keys=False)
    path.write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "tests.big_documents", str(path)]
    done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, timeout=80, check=False)
    assert done.returncode == 0, done.stderr
    return Measured(**json.loads(done.stdout))


def _peak_memory() -> float:
    """Mebibytes that this program needed at the most. ``ru_maxrss`` would count the process that started it as well."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def main(path: Path) -> Measured:
    started = time.perf_counter()
    store = SQLPersistenceManager(path.with_suffix(".sqlite3"))
    engine = LocalEngine(Settings(), store)
    workflow = engine.compile(read_source(path))
    loaded = time.perf_counter()
    run = engine.orchestrator(workflow, "r").run()
    ended = time.perf_counter()
    memory = _peak_memory()
    saved = store.load_run("r")
    assert saved is not None
    statuses = [row.status for row in saved.tasks.values()]
    rows = {status.value: statuses.count(status) for status in TaskStatus if status in statuses}
    engine.close()
    store.close()
    return Measured(run.status.value, loaded - started, ended - loaded, memory, rows)


if __name__ == "__main__":
    print(json.dumps(asdict(main(Path(sys.argv[1])))))
