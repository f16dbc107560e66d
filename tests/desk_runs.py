"""Runs at many desks for tests: documents, what LOCAL mode makes of them, and what must hold at the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from highway_core.config import Settings
from highway_core.engine.durable.services import DurableServices
from highway_core.engine.durable.wiring import durable_services
from highway_core.engine.graph import CompiledWorkflow
from highway_core.engine.loader import Source, compile_document
from highway_core.engine.run import Run
from highway_core.engine.run_state import Instance
from highway_core.lifecycle import TASK_FINAL, QueueKind, TaskStatus
from highway_core.tools.registry import ToolRegistry
from highway_core.utils.json_values import dumps, loads
from tests.conformance.observed import TOOLS
from tests.desks import Desks
from tests.random_workflows import Draft, workflows
from tests.simulation import Simulation

ENVIRON = {"HIGHWAY_SECRET_TOKEN": "s3cret", "CITY": "Oslo"}


def services_for(url: str, home: Path, **changes: Any) -> DurableServices:
    """What a worker's process has; no task is poison."""
    settings = Settings(
        database_url=url.replace("postgresql://", "postgresql+psycopg2://", 1),
        home=home,
        tools_dir=TOOLS,
        workflows_dir=home,
        environ=ENVIRON,
        env_allowed=("CITY",),
        max_lease_losses=changes.pop("max_lease_losses", 10_000),
        secret_key="secret-of-the-desks",
    )
    services = durable_services(settings)
    for name, value in changes.items():
        setattr(services, name, value)
    return services


def compiled(tasks: Mapping[str, Any], services: DurableServices, **document: Any) -> CompiledWorkflow:
    registry: ToolRegistry = services.definitions._tools  # type: ignore[assignment]
    return compile_document(Source({"name": "random", **document, "tasks": tasks}, "random"), registry)[0]


def tasks_of(tasks: Mapping[str, dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """All tasks of a document, at any depth."""
    for name, task in tasks.items():
        yield name, task
        for one in task.get("loop_body", ()):
            yield from tasks_of({one["task_id"]: one})
        for branch in task.get("branch_workflows", {}).values():
            yield from tasks_of(branch["tasks"])


@st.composite
def spiced_workflows(draw: Any) -> Draft:
    """Random workflows whose tasks leave results, count, sleep; whose loops are tried again."""
    draft = draw(workflows())
    for name, task in tasks_of(draft.tasks):
        match task["operator_type"], draw(st.integers(0, 9)):
            case "task", 0 | 1:
                task["result_key"] = f"r_{name}"
            case "task", 2 | 3 if task["function"] == "test.echo":
                task.update(function="tools.memory.increment", args=[draw(st.sampled_from(["one", "two"]))])
            case "task", 4 if task["function"] == "test.echo":
                del task["function"], task["args"]
                task.pop("retry_policy", None)
                task.update(operator_type="wait", wait_for=draw(st.sampled_from(["PT0S", "PT5S", "PT60S"])))
            case "foreach" | "while", 0 | 1 | 2:
                task["retry_policy"] = {"max_retries": 1, "delay": draw(st.integers(0, 2))}
            case "foreach" | "while" | "parallel", 3 | 4:
                task["result_key"] = f"r_{name}"
            case _:
                pass
    return draft


@dataclass
class Reference(Simulation):
    """A LOCAL run that remembers the results of its tasks."""

    values: dict[str, Any] = field(default_factory=dict)

    def changed(self, run: Run, instance: Instance) -> None:
        super().changed(run, instance)
        self.ends[instance.path] = instance.status.value
        if instance.status is TaskStatus.COMPLETED:
            self.values[instance.path] = loads(instance.result_text or "null")

    def __post_init__(self) -> None:
        self.ends: dict[str, str] = {}
        super().__post_init__()


def local_end(workflow: CompiledWorkflow, seed: int) -> dict[str, Any]:
    """How a run of LOCAL mode ends."""
    simulation = Reference(workflow, seed)
    run = simulation.drive()
    return {
        "status": run.status.value,
        "result": _normal(run.result),
        "tasks": simulation.ends,
        "values": {
            path: _normal(value)
            for path, value in simulation.values.items()
            if simulation.ends[path] == TaskStatus.COMPLETED.value
        },
        "memory": dict(run.memory),
        "variables": dict(run.variables),
    }


def durable_end(desks: Desks, run_id: str) -> dict[str, Any]:
    """How a run of DURABLE mode has ended."""
    fetch = desks.connection.fetch
    ((status, result, variables),) = fetch(
        "SELECT status, result_json, variables_json FROM workflows WHERE workflow_id = %s", (run_id,)
    )
    tasks = fetch("SELECT task_id, status, result_value_json FROM tasks WHERE workflow_id = %s", (run_id,))
    memory = fetch("SELECT memory_key, memory_value_json FROM workflow_memory WHERE workflow_id = %s", (run_id,))
    return {
        "status": status,
        "result": _normal(loads(result or "null")),
        "tasks": {path: ended for path, ended, _ in tasks},
        "values": {
            path: _normal(loads(value or "null")) for path, ended, value in tasks if ended == TaskStatus.COMPLETED.value
        },
        "memory": {key: loads(value) for key, value in memory},
        "variables": loads(variables),
    }


def _normal(value: Any) -> Any:
    """The value, but for counts that depend on who was first."""
    match value:
        case {"key": key, "new_value": _}:
            return {"counted": key}
        case dict():
            return {key: _normal(one) for key, one in value.items()}
        case list():
            return [_normal(one) for one in value]
        case _:
            return value


_OPEN_AND_QUEUED = {
    TaskStatus.QUEUED.value: {QueueKind.WORK},
    TaskStatus.RUNNING.value: {QueueKind.WORK},
    TaskStatus.WAITING_FOR_TIMER.value: {QueueKind.WAKE, QueueKind.RETRY, QueueKind.KEY},
    TaskStatus.WAITING_FOR_EVENT.value: {QueueKind.EVENT, QueueKind.APPROVAL},
}


def hold_invariants(desks: Desks, *, activations: int = 1) -> None:
    """What holds at any time; ``activations``: how often a task may begin anew, because a loop around it does."""
    fetch = desks.connection.fetch
    for run_id, status, log_seq in fetch(
        "SELECT workflow_id, status, log_seq FROM workflows WHERE queue = %s", (desks.queue,)
    ):
        log = fetch("SELECT seq, kind, task_id FROM event_log WHERE workflow_id = %s ORDER BY seq", (run_id,))
        assert [seq for seq, _, _ in log] == list(range(1, log_seq + 1)), f"the log of {run_id} has gaps"
        _hold_log(run_id, status, [(kind, path) for _, kind, path in log], activations)
        _hold_queue(desks, run_id)


def _hold_log(run_id: str, status: str, log: list[tuple[str, str]], activations: int) -> None:
    final = {f"task.{one.value}" for one in TASK_FINAL}
    ends: dict[str, int] = {}
    again = activations + sum(kind == "operator.retry" for kind, _ in log)
    over = False
    for kind, path in log:
        assert not over or kind == "operator.retry", f"{run_id}: {kind} {path} after the end"
        over = kind in {"run.completed", "run.failed", "run.cancelled"}
        if kind in final:
            ends[path] = ends.get(path, 0) + 1
            assert ends[path] <= again, f"{run_id}: {path} ended {ends[path]} times"
    assert over == (status in {"completed", "failed", "cancelled"}), f"{run_id}: {status}, and its log says {log[-1]}"


def _hold_queue(desks: Desks, run_id: str) -> None:
    fetch = desks.connection.fetch
    tasks = dict(fetch("SELECT task_id, status FROM tasks WHERE workflow_id = %s AND node IS NOT NULL", (run_id,)))
    queue: dict[str, set[str]] = {}
    for path, kind in fetch("SELECT task_id, kind FROM task_queue WHERE workflow_id = %s", (run_id,)):
        queue.setdefault(path, set()).add(kind.partition(":")[0])
    for path in queue.keys() - {""}:
        status = tasks.get(path)
        assert status is not None and TaskStatus(status) not in TASK_FINAL, f"{run_id}: {path} is {status}, and queued"
    for path, status in tasks.items():
        wanted = _OPEN_AND_QUEUED.get(status)
        kinds = queue.get(path, set())
        assert not wanted or kinds & wanted, f"{run_id}: {path} is {status}, in the queue are {kinds}"


CHILDREN: Mapping[str, Mapping[str, Any]] = {
    "child_ok": {"a": {"function": "test.echo", "args": [1]}, "b": {"function": "test.echo", "dependencies": ["a"]}},
    "child_fails": {"a": {"function": "test.fail", "args": ["no"]}},
    "child_sleeps": {"a": {"operator_type": "wait", "wait_for": "PT30S"}},
    "child_nests": {"a": {"operator_type": "child_workflow", "children": {"inner": {"workflow_name": "child_sleeps"}}}},
}


def write_children(home: Path) -> None:
    """The workflows that ``wild_workflows`` start."""
    for name, tasks in CHILDREN.items():
        full = {key: {"operator_type": "task", **task} for key, task in tasks.items()}
        (home / f"{name}.json").write_text(dumps({"name": name, "tasks": full}), encoding="utf-8")


@st.composite
def wild_workflows(draw: Any) -> dict[str, dict[str, Any]]:  # noqa: C901 - a list of what may be added
    """Random workflows whose tasks time out, wait for events and child runs, share idempotency keys."""
    tasks = draw(spiced_workflows()).tasks
    for name, task in tasks_of(tasks):
        kind = task["operator_type"]
        what = draw(st.integers(0, 14))
        plain = kind == "task" and task["function"] == "test.echo"
        match kind, what:
            case _, 0 | 1 if plain:
                _turn(task, "child_workflow", children=draw(_children))
            case _, 2 if plain:
                _turn(task, "wait_for_event", event_name=draw(_events), timeout_seconds=draw(st.sampled_from([5, 500])))
            case _, 3 if plain:
                _turn(task, "emit_event", event_name=draw(_events), payload={"from": name})
            case _, 4 | 5 if plain:
                task["idempotency_key"] = draw(st.sampled_from(["{{run.id}}-a", "{{run.id}}-b"]))
            case "foreach", 0 | 1 | 2:
                task["dynamic"] = True
            case "parallel" | "multi_choice", 0 | 1 | 2 | 3:
                task["timeout"] = draw(st.sampled_from([1, 20, 1000]))
            case _, 6 | 7 | 8:
                task["timeout_policy"] = {"timeout": draw(st.sampled_from([1, 20])), "kill_on_timeout": True}
            case "condition", 9:
                _turn(task, "terminate") if not task["if_true"] and not task["if_false"] else None
            case _:
                pass
        if what == 10 and kind not in {"condition", "switch"}:
            task["retry_policy"] = {"max_retries": 2, "delay": draw(st.sampled_from([0, 1, 30]))}
    return tasks


_events = st.sampled_from(["{{run.id}}-x", "{{run.id}}-y"])
_children = st.lists(st.sampled_from([*CHILDREN, "child_unknown"]), min_size=1, max_size=3).map(
    lambda names: {f"b{number}": {"workflow_name": name} for number, name in enumerate(names)}
)


def _turn(task: dict[str, Any], kind: str, **fields: Any) -> None:
    """Make another operator of a task."""
    for name in ("function", "args", "condition", "if_true", "if_false"):
        task.pop(name, None)
    task.update(operator_type=kind, **fields)
