"""``kill -9`` in the middle of a LOCAL run, and the same run id again: what was completed is not done twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from highway_core.lifecycle import RunStatus, TaskStatus
from tests.killable import RUN, Ended, KillableRuns, completed, ended, step
from tests.waiting import eventually

STORES = pytest.mark.parametrize("runs", ["sqlite", "files"], indirect=True)
BUSY = 0.01
"""Seconds that a task takes where several work at the same time."""


@pytest.fixture
def runs(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    killable = KillableRuns(tmp_path, getattr(request, "param", "sqlite"))
    yield killable
    killable.store.close()


@dataclass(frozen=True)
class Workload:
    """A run of about 200 tasks that are counted, and how it ends."""

    tasks: dict[str, Any]
    counted: list[str]
    result: Any
    child: dict[str, Any] | None = None
    at_once: int = 1
    """Tasks that may have been started and not stored as completed when the process is killed."""


def chained(name: str, length: int, first: Any) -> dict[str, Any]:
    """Each task adds one to what the one before it returned."""
    tasks = {f"{name}0": step(value=first)}
    for n in range(1, length):
        tasks[f"{name}{n}"] = step(f"{name}{n - 1}", value=f"{{{{{name}{n - 1}}}}}", plus=1)
    return tasks


def a_chain() -> Workload:
    tasks = chained("t", 200, first=0)
    return Workload(tasks, list(tasks), 199)


def a_fan_out() -> Workload:
    middle = {f"t{n}": step("begin", value=n, seconds=BUSY) for n in range(198)}
    end = step(*middle, value=[f"{{{{{name}}}}}" for name in middle])
    return Workload({"begin": step(), **middle, "end": end}, ["begin", *middle, "end"], [*range(198)], at_once=100)


def a_loop_over_items(parallel: bool) -> Workload:
    body = [
        step(task_id="first", value="{{item}}", seconds=BUSY if parallel else 0),
        step("first", task_id="second", value="{{first}}", plus=1),
        step("second", task_id="third", value="{{second}}", plus="{{index}}"),
        step("third", task_id="last", value="{{third}}", result_key="out"),
    ]
    tasks = {
        "each": {
            "operator_type": "foreach",
            "items": list(range(0, 500, 10)),
            "parallel": parallel,
            "loop_body": body,
            "result_key": "all",
        },
        "end": step("each", value="{{all}}"),
    }
    counted = [f"each[{n}].{one['task_id']}" for n in range(50) for one in body]
    results = [{"out": 10 * n + 1 + n} for n in range(50)]
    return Workload(tasks, [*counted, "end"], results, at_once=100 if parallel else 1)


def a_while_loop() -> Workload:
    """What an iteration leaves in memory and results is what the next one builds on."""
    tasks = {
        "zero": step(value=0, result_key="total"),
        "loop": {
            "operator_type": "while",
            "condition": "{{total}} < 60",
            "dependencies": ["zero"],
            "loop_body": [
                step(task_id="one", value="{{total}}"),
                {
                    "task_id": "note",
                    "operator_type": "task",
                    "function": "count.remember",
                    "args": ["seen", "{{one}}"],
                    "dependencies": ["one"],
                },
                step("note", task_id="two", value="{{one}}"),
                step("two", task_id="three", value="{{two}}", plus=1, result_key="total"),
            ],
        },
        "end": step("loop", value=["{{memory.seen}}", "{{total}}"]),
    }
    counted = [f"loop[{n}].{name}" for n in range(60) for name in ("one", "two", "three")]
    return Workload(tasks, ["zero", *counted, "end"], [[*range(60)], 60])


def branches() -> Workload:
    """Ten branches of twenty tasks, of which the last says what comes out."""
    tasks: dict[str, Any] = {
        "fan": {
            "operator_type": "parallel",
            "branches": {f"b{b}": [f"b{b}_{n}" for n in range(20)] for b in range(10)},
        }
    }
    for b in range(10):
        tasks[f"b{b}_0"] = step("fan", value=b, seconds=BUSY)
        for n in range(1, 20):
            tasks[f"b{b}_{n}"] = step(f"b{b}_{n - 1}", value=f"{{{{b{b}_{n - 1}}}}}", plus=100)
        tasks[f"b{b}_19"]["result_key"] = f"out{b}"
    tasks["end"] = step("fan", value="{{fan}}")
    result = {f"b{b}": {"status": "completed", "results": {f"out{b}": b + 1900}} for b in range(10)}
    return Workload(tasks, [name for name in tasks if name != "fan"], result, at_once=100)


def a_child_run() -> Workload:
    child = chained("t", 150, first="{{inputs.start}}")
    before = chained("a", 20, first=7)
    call = {
        "operator_type": "child_workflow",
        "children": {"only": {"workflow_name": "child", "inputs": {"start": "{{a19}}"}}},
        "dependencies": ["a19"],
    }
    after = {"end": step("call", value="{{call.only.result}}")}
    counted = [*before, *(f"call/only:{name}" for name in child), *after]
    return Workload({**before, "call": call, **after}, counted, 26 + 149, {"tasks": child, "variables": {"start": 0}})


WORKLOADS: dict[str, Callable[[], Workload]] = {
    "chain": a_chain,
    "fan-out": a_fan_out,
    "foreach, one by one": lambda: a_loop_over_items(parallel=False),
    "foreach, all at once": lambda: a_loop_over_items(parallel=True),
    "while": a_while_loop,
    "parallel branches": branches,
    "child run": a_child_run,
}


@STORES
@pytest.mark.parametrize("workload", WORKLOADS.values(), ids=WORKLOADS.keys())
def test_a_killed_run_goes_on_without_doing_completed_tasks_again(
    runs: KillableRuns, workload: Callable[[], Workload]
) -> None:
    load = workload()
    runs.write({"tasks": load.tasks})
    if load.child is not None:
        runs.write(load.child, "child")
    saved = runs.kill_at(100, hold_after=150)
    assert saved.status is RunStatus.RUNNING
    done = completed(saved)
    if load.child is not None:
        done |= completed(runs.saved(f"{RUN}/call/only"))
    once = runs.counted()

    assert runs.run() == Ended("completed", load.result)

    twice = runs.counted()
    assert len(done) > 50
    assert len(once.keys() - done) <= load.at_once, "what was over before the next task began is stored"
    assert {task: twice[task] for task in done & once.keys()} == dict.fromkeys(done & once.keys(), 1)
    assert set(twice) == {f"{RUN}/{name}" if "/" in name else f"{RUN}:{name}" for name in load.counted}
    assert set(twice.values()) <= {1, 2}
    assert {row.status for row in runs.saved().tasks.values()} == {TaskStatus.COMPLETED}


@STORES
def test_a_run_killed_again_and_again_comes_to_its_end(runs: KillableRuns) -> None:
    load = a_chain()
    runs.write({"tasks": load.tasks})
    for lines in (30, 80, 140):
        done = completed(runs.kill_at(lines, hold_after=60))
    assert runs.run() == Ended("completed", load.result)
    assert sum(runs.counted().values()) <= 200 + 3
    assert all(runs.counted()[task] <= 2 for task in done)


def test_a_wait_keeps_its_moment_and_is_not_waited_for_again(runs: KillableRuns) -> None:
    tasks = {
        "before": step(value=1),
        "nap": {"operator_type": "wait", "wait_for": "PT1H", "dependencies": ["before"]},
        "held": {"operator_type": "task", "function": "count.until", "args": ["gate"], "dependencies": ["before"]},
        "after": step("nap", "held", value="{{before}}"),
    }
    runs.write({"tasks": tasks})
    naps = []
    for times in (1, 2):
        process = runs.start()
        assert eventually(lambda times=times: runs.counted()["r:held"] == times, within=60)
        naps.append(runs.kill(process).tasks["nap"])
    assert {nap.status for nap in naps} == {TaskStatus.WAITING_FOR_TIMER}
    assert naps[0].wake_up_at == naps[1].wake_up_at

    runs.let_time_pass("nap")
    (runs.folder / "gate").touch()
    assert runs.run() == Ended("completed", 1)
    assert runs.counted() == {"r:before": 1, "r:held": 3, "r:after": 1}


def test_a_task_that_was_killed_in_its_retry_delay_is_tried_again(runs: KillableRuns) -> None:
    tasks = {
        "before": step(value=1),
        "flaky": {
            "operator_type": "task",
            "function": "count.fail_until",
            "args": ["mended"],
            "dependencies": ["before"],
            "retry_policy": {"max_retries": 2, "delay": "PT1H"},
        },
        "after": step("flaky", value="{{flaky}} {{before}}"),
    }
    runs.write({"tasks": tasks})
    process = runs.start()
    assert eventually(lambda: "flaky" in _waiting(runs), within=60)
    row = runs.kill(process).tasks["flaky"]
    assert (row.attempt, row.error_message) == (1, "there is no mended")

    (runs.folder / "mended").touch()
    runs.let_time_pass("flaky")
    assert runs.run() == Ended("completed", "mended 1")
    assert runs.counted() == {"r:before": 1, "r:flaky": 2, "r:after": 1}


def _waiting(runs: KillableRuns) -> list[str]:
    saved = runs.store.load_run(RUN)
    tasks = {} if saved is None else saved.tasks
    return [path for path, row in tasks.items() if row.status is TaskStatus.WAITING_FOR_TIMER]


def test_memory_and_variables_survive(runs: KillableRuns) -> None:
    increments = {
        f"add{n}": {"operator_type": "task", "function": "tools.memory.increment", "args": ["n"]} for n in range(50)
    }
    tasks = {
        **increments,
        "paint": {"operator_type": "task", "function": "count.set_variable", "args": ["colour", "green"]},
        "hold": step(*increments, "paint"),
        "end": step("hold", value="{{memory.n}} {{variables.colour}} {{variables.size}}"),
    }
    runs.write({"variables": {"colour": "red", "size": 3}, "tasks": tasks})
    saved = runs.kill_at(1, hold_after=1)
    assert (saved.memory, saved.variables) == ({"n": 50}, {"colour": "green", "size": 3})
    assert runs.run() == Ended("completed", "50 green 3")
    assert runs.saved().memory == {"n": 50}


def test_a_condition_keeps_the_arm_that_it_took(runs: KillableRuns) -> None:
    """What it looked at has changed by the time the run is taken up again."""
    tasks = {
        "check": {"operator_type": "condition", "condition": "{{memory.way}} == null", "if_true": "l", "if_false": "r"},
        "choose": {
            "operator_type": "multi_choice",
            "branches": {"a": {"condition": "{{memory.way}} == null", "tasks": ["chosen"]}},
        },
        "l": {"operator_type": "task", "function": "tools.memory.set", "args": ["way", 1], "dependencies": ["check"]},
        "chosen": step("choose", "l"),
        "hold": step("l", "chosen"),
        "r": step("check"),
        "end": step("hold", "check", "choose"),
    }
    runs.write({"tasks": tasks})
    saved = runs.kill_at(2, hold_after=2)
    assert saved.memory == {"way": 1}
    assert runs.run() == Ended("completed")
    assert runs.counted() == {"r:chosen": 1, "r:hold": 2, "r:end": 1}
    assert runs.saved().tasks["r"].status is TaskStatus.SKIPPED


@STORES
def test_a_failed_run_does_only_what_was_not_completed(runs: KillableRuns) -> None:
    tasks = {
        "a": step(value=1),
        "b": {
            "operator_type": "task",
            "function": "count.fail_until",
            "args": ["mended"],
            "dependencies": ["a"],
        },
        "c": step("b", value="{{a}} {{b}}"),
        "apart": step(value=2, result_key="two"),
        "end": step("c", "apart", value="{{c}} {{two}}"),
    }
    runs.write({"tasks": tasks})
    failed = runs.run()
    assert failed == Ended("failed", None, "Task 'b' failed: there is no mended")
    assert runs.saved().tasks["end"].status is TaskStatus.UPSTREAM_FAILED

    (runs.folder / "mended").touch()
    assert runs.run() == Ended("completed", "1 mended 2")
    assert runs.counted() == {"r:a": 1, "r:b": 2, "r:c": 1, "r:apart": 1, "r:end": 1}
    saved = runs.saved()
    assert (saved.error_message, saved.tasks["b"].error_message) == (None, None)


def test_a_completed_run_is_not_done_again(runs: KillableRuns) -> None:
    runs.write({"tasks": {"a": step(value=1), "b": step("a", value="{{a}}", plus=1)}})
    assert runs.run() == Ended("completed", 2)
    before = runs.saved()
    assert runs.run() == Ended("completed", 2)
    assert runs.saved() == before
    assert set(runs.counted().values()) == {1}


@STORES
def test_a_run_that_a_living_process_drives_is_left_to_it(runs: KillableRuns) -> None:
    runs.write({"tasks": a_chain().tasks})
    process = runs.start(hold_after=50)
    assert eventually(lambda: len(runs.lines()) >= 50, within=60)
    refused = runs.run()
    assert refused.status is None
    assert "RunConflictError" in (refused.error or "") and f":{process.pid}:" in (refused.error or "")
    assert len(runs.lines()) == 50
    runs.kill(process)
    assert runs.run().status == "completed"


@STORES
def test_a_run_keeps_the_document_that_it_began_with(runs: KillableRuns) -> None:
    runs.write({"tasks": {"a": step(value=1), "b": step("a", value=2)}})
    runs.kill_at(1, hold_after=1)
    document = (runs.folder / "flow.json").read_text(encoding="utf-8")
    runs.write({"tasks": {"a": step(value=1), "b": step("a", value=3)}})
    refused = runs.run()
    assert refused.status is None
    assert "another version of workflow 'flow'" in (refused.error or "")
    assert runs.lines() == ["r:a"]
    # Other blanks are the same document.
    (runs.folder / "flow.json").write_text(json.dumps(json.loads(document), indent=3))
    assert runs.run() == Ended("completed", 2)


def test_two_processes_cannot_both_take_up_a_killed_run(runs: KillableRuns) -> None:
    runs.write({"tasks": a_chain().tasks})
    runs.kill_at(50, hold_after=60)
    both = [runs.start(hold_after=30), runs.start(hold_after=30)]
    assert eventually(lambda: any(process.poll() is not None for process in both), within=60)
    (loser,) = [process for process in both if process.poll() is not None]
    (winner,) = [process for process in both if process is not loser]
    assert "RunConflictError" in (ended(loser).error or "")
    runs.kill(winner)
    assert runs.run() == Ended("completed", 199)
    assert max(runs.counted().values()) <= 3
