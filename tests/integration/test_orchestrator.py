"""The loop of LOCAL mode with real threads: what runs at the same time, and what it does when it is spoken to."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from highway_core.errors import StorageError
from highway_core.lifecycle import RunStatus
from highway_core.persistence.in_memory import InMemoryPersistenceManager
from highway_core.persistence.manager import RunChanges
from tests import driven
from tests.driven import Driven, Gates, Watching, call
from tests.waiting import eventually


@pytest.fixture
def gates() -> Iterator[Gates]:
    driven.gates = Gates()
    yield driven.gates
    for gate in driven.gates.open.values():
        gate.set()


def working_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("highway-work")]


def test_a_hundred_waits_on_two_threads_end_together(gates: Gates) -> None:
    tasks = {f"w{n}": {"operator_type": "wait", "wait_for": "200ms"} for n in range(100)}
    tasks |= {f"after{n}": call("driven.note", after=[f"w{n}"]) for n in range(100)}
    waiting = Driven(tasks, threads=2)
    assert waiting.run().status is RunStatus.COMPLETED
    woken = [row.completed_at for path, row in waiting.saved().tasks.items() if path.startswith("w")]
    moments = sorted(moment for moment in woken if moment is not None)
    assert len(moments) == 100
    assert (moments[-1] - moments[0]).total_seconds() < 10  # one after the other on two threads they would take 10 s


def test_a_wait_and_a_retry_hold_no_thread(gates: Gates) -> None:
    """The one thread is free while a hundred tasks wait for their next attempt."""
    policy = {"max_retries": 1, "delay": "PT1H"}
    tasks: dict[str, Any] = {f"w{n}": {"operator_type": "wait", "wait_for": "PT1H"} for n in range(100)}
    tasks |= {f"f{n}": call("driven.fail", retry_policy=policy) for n in range(100)}
    tasks["free"] = call("driven.note")
    waiting = Driven(tasks, threads=1).start()
    gates.wait_for("free")
    assert eventually(lambda: list(waiting.statuses().values()).count("WAITING_FOR_TIMER") == 200)
    assert len(working_threads()) <= 1
    waiting.orchestrator.cancel()
    assert waiting.end().status is RunStatus.CANCELLED


def test_no_more_tasks_work_at_once_than_there_are_threads(gates: Gates) -> None:
    run = Driven({f"t{n}": call("driven.together", 3) for n in range(12)}, threads=3)
    assert run.run().status is RunStatus.COMPLETED
    assert gates.most_inside == 3


def test_one_thread_is_enough_for_any_number_of_tasks(gates: Gates) -> None:
    tasks = {f"t{n}": call("driven.note") for n in range(20)}
    run = Driven({**tasks, "end": call("driven.note", after=[*tasks])}, threads=1).start()
    assert run.end(within=5).status is RunStatus.COMPLETED
    assert len(gates.entered) == 21 and gates.most_inside == 1


def test_twenty_loops_at_once_share_the_threads(gates: Gates) -> None:
    body = [
        {
            "task_id": "inner",
            "operator_type": "foreach",
            "items": [1, 2],
            "parallel": True,
            "loop_body": [{"task_id": "one", **call("driven.note", "{{item}}"), "result_key": "out"}],
        }
    ]
    loop = {"operator_type": "foreach", "items": [1, 2, 3], "parallel": True, "loop_body": body}
    run = Driven({f"loop{n}": loop for n in range(20)}, threads=2)
    assert run.run().status is RunStatus.COMPLETED
    assert len(gates.entered) == 20 * 3 * 2


def test_a_slow_task_holds_back_only_what_waits_for_it(gates: Gates) -> None:
    tasks = {"slow": call("driven.hold", "gate"), "after_slow": call("driven.note", after=["slow"])}
    tasks |= {f"c{n}": call("driven.note", after=[f"c{n - 1}"] if n else []) for n in range(10)}
    run = Driven(tasks, threads=2).start()
    gates.wait_for("c9")
    assert eventually(lambda: run.statuses().get("c9") == "completed")
    assert "after_slow" not in gates.entered
    gates.open["gate"].set()
    assert run.end().status is RunStatus.COMPLETED
    assert gates.entered[-1] == "after_slow"


def test_an_abandoned_attempt_frees_its_slot_and_its_late_answer_is_not_heard(gates: Gates) -> None:
    policy = {"timeout": "100ms", "kill_on_timeout": False}
    tasks = {
        "deaf": call("driven.deaf", "gate", timeout_policy=policy),
        "next": call("driven.note", after=["deaf"], trigger_rule="all_done"),
        "wait": call("driven.hold", "end", after=["next"]),
        "end": call("driven.note", "done", after=["wait"]),
    }
    run = Driven(tasks, threads=1).start()
    gates.wait_for("deaf", "wait")
    gates.open["gate"].set()  # the late answer comes while the run goes on
    gates.open["end"].set()
    ended = run.end()
    assert ended.result == "done"
    row = run.saved().tasks["deaf"]
    assert (row.status.value, row.result_json) == ("failed", None)
    assert "timed out (timeout_policy: 0.1 s)" in (row.error_message or "")


def test_an_abandoned_attempt_that_returns_gives_its_thread_back(gates: Gates) -> None:
    policy = {"timeout": "50ms", "kill_on_timeout": False}
    tasks: dict[str, Any] = {f"deaf{n}": call("driven.deaf", "gate", timeout_policy=policy) for n in range(5)}
    tasks["meanwhile"] = call("driven.note", after=[*tasks], trigger_rule="all_done")
    tasks["wait"] = call("driven.hold", "go on", after=["meanwhile"])
    tasks |= {f"t{n}": call("driven.hold", "end", after=["wait"]) for n in range(10)}
    watching = Watching()
    run = Driven(tasks, threads=2, listener=watching).start()
    gates.wait_for("wait")
    gates.open["gate"].set()
    assert eventually(lambda: gates.left == 5 + 1)
    gates.open["go on"].set()
    assert eventually(lambda: sum(path.startswith("t") for path in gates.entered) >= 2)
    # All that may start at once are announced before the first of them does.
    assert sum(path.startswith("t") and status == "running" for path, status in watching.seen) == 2
    gates.open["end"].set()
    assert run.end().status is RunStatus.COMPLETED


def test_the_late_answer_of_an_abandoned_attempt_is_not_the_next_one_s(gates: Gates) -> None:
    policies = {
        "timeout_policy": {"timeout": "1s", "kill_on_timeout": False},
        "retry_policy": {"max_retries": 1, "delay": 0},
    }
    run = Driven({"deaf": call("driven.deaf", "attempt", **policies)}).start()
    assert eventually(lambda: gates.entered == ["deaf", "deaf"])
    gates.open["attempt 1"].set()
    assert eventually(lambda: gates.left == 1)
    gates.open["attempt 2"].set()
    assert run.end().result == "attempt 2"


def test_cancel_stops_the_work_and_ends_the_run(gates: Gates) -> None:
    tasks = {
        "held": call("driven.hold", "never one"),
        "nap": {"operator_type": "wait", "wait_for": "PT1H"},
        "news": {"operator_type": "wait_for_event", "event_name": "never"},
        "each": {
            "operator_type": "foreach",
            "items": [1, 2],
            "loop_body": [{"task_id": "deep", **call("driven.hold", "never two")}],
        },
        "after": call("driven.note", after=["held"]),
    }
    run = Driven(tasks).start()
    gates.wait_for("held", "each[0].deep")
    run.orchestrator.cancel("Not wanted any more.")
    ended = run.end()
    assert (ended.status, ended.error) == (RunStatus.CANCELLED, "Not wanted any more.")
    assert set(run.statuses().values()) == {"cancelled"}
    assert eventually(lambda: sorted(gates.stopped) == ["each[0].deep", "held"])


def test_items_can_be_added_while_a_dynamic_loop_runs(gates: Gates) -> None:
    body = [{"task_id": "one", **call("driven.hold", "gate", "{{item}}"), "result_key": "out"}]
    loop = {"operator_type": "foreach", "items": ["a"], "dynamic": True, "parallel": True, "loop_body": body}
    tasks = {"each": {**loop, "result_key": "all"}, "end": call("driven.note", "{{all}}", after=["each"])}
    run = Driven(tasks).start()
    gates.wait_for("each[0].one")
    run.orchestrator.add_items("each", ["b", "c"])
    gates.open["gate"].set()
    assert run.end().result == [{"out": "a"}, {"out": "b"}, {"out": "c"}]


def test_an_event_can_be_sent_from_outside(gates: Gates) -> None:
    tasks = {
        "hold": call("driven.note"),
        "hear": {"operator_type": "wait_for_event", "event_name": "news", "result_key": "heard"},
        "end": call("driven.note", "{{heard.n}}", after=["hear"]),
    }
    run = Driven(tasks).start()
    gates.wait_for("hold")
    run.orchestrator.send_event("other", {"n": 0})
    run.orchestrator.send_event("news", {"n": 5})
    assert run.end().result == {"hold": None, "end": 5}


def test_an_event_that_was_sent_before_is_there_already(gates: Gates) -> None:
    tasks = {
        "hold": call("driven.hold", "gate"),
        "hear": {"operator_type": "wait_for_event", "event_name": "news", "dependencies": ["hold"]},
    }
    run = Driven(tasks).start()
    gates.wait_for("hold")
    run.orchestrator.send_event("news", "old")
    run.orchestrator.send_event("news", "new")
    gates.open["gate"].set()
    assert run.end().result == "new"


def test_what_is_asked_while_a_task_works_alone_comes_before_the_next_task(gates: Gates) -> None:
    run = Driven({"alone": call("driven.deaf", "gate"), "after": call("driven.note", after=["alone"])}).start()
    gates.wait_for("alone")
    run.orchestrator.cancel()
    gates.open["gate"].set()
    assert run.end().status is RunStatus.CANCELLED
    assert gates.entered == ["alone"]


def test_parent_and_child_hear_each_other(gates: Gates, tmp_path: Path) -> None:
    hear = "hear: {operator_type: wait_for_event, event_name: down}"
    tell = "tell: {operator_type: emit_event, event_name: up, payload: {after: '{{hear.from}}'}, dependencies: [hear]}"
    (tmp_path / "child.yaml").write_text(f"name: child\ntasks:\n  {hear}\n  {tell}\n")
    down = {"event_name": "down", "payload": {"from": "parent"}}
    tasks = {
        "call": {"operator_type": "child_workflow", "children": {"only": {"workflow_name": "child"}}},
        "hold": call("driven.note"),
        "tell": {"operator_type": "emit_event", **down, "dependencies": ["hold"]},
        "hear": {"operator_type": "wait_for_event", "event_name": "up"},
        "end": call("driven.note", "{{hear}}", after=["hear", "call"]),
    }
    run = Driven(tasks, folder=tmp_path).run()
    assert (run.status, run.root.outputs["end"]) == (RunStatus.COMPLETED, {"after": "parent"})


def test_an_interrupted_run_can_be_taken_up_again(gates: Gates) -> None:
    tasks = {
        "a": call("driven.note", 1),
        "b": call("driven.hold", "gate", "{{a}}", after=["a"]),
        "beside": call("driven.hold", "gate b", after=["a"]),
        "c": call("driven.note", "{{b}}", after=["b", "beside"]),
    }
    first = Driven(tasks).start()
    gates.wait_for("b", "beside")
    first.orchestrator.interrupt("SIGTERM")
    ended = first.end()
    assert ended.status is RunStatus.CANCELLED
    assert "SIGTERM" in (ended.error or "") and "same run id" in (ended.error or "")
    assert first.statuses() == {"a": "completed", "b": "cancelled", "beside": "cancelled", "c": "cancelled"}
    assert eventually(lambda: sorted(gates.stopped) == ["b", "beside"])

    again = Driven(tasks, store=first.store).run()
    assert (again.status, again.result, again.error) == (RunStatus.COMPLETED, 1, None)
    assert sorted(gates.entered) == ["a", "b", "b", "beside", "beside", "c"]


@pytest.mark.parametrize("how", ["cancel", "interrupt"])
def test_a_task_that_works_alone_can_be_stopped(how: str, gates: Gates) -> None:
    """It is carried out by the deciding thread, which cannot hear meanwhile."""
    run = Driven({"alone": call("driven.hold", "gate"), "after": call("driven.note", after=["alone"])}).start()
    gates.wait_for("alone")
    getattr(run.orchestrator, how)("enough")
    assert eventually(lambda: gates.stopped == ["alone"], within=3)
    assert run.end().status is RunStatus.CANCELLED
    assert gates.entered == ["alone"]


def spinning(turns: int) -> dict[str, Any]:
    """A loop in which nothing ever leaves the deciding thread."""
    return {
        "loop": {
            "operator_type": "while",
            "condition": f"{{{{memory.n}}}} == null or {{{{memory.n}}}} < {turns}",
            "metadata": {"max_iterations": turns + 1},
            "loop_body": [{"task_id": "more", **call("tools.memory.increment", "n")}],
        }
    }


def test_a_loop_that_never_leaves_the_deciding_thread_can_be_stopped(gates: Gates) -> None:
    def stop_after_a_hundred(path: str, status: str) -> None:
        if path == "loop[100].more":
            run.orchestrator.cancel("enough")

    run = Driven(spinning(5_000), listener=Watching(stop_after_a_hundred))
    assert run.run().status is RunStatus.CANCELLED
    assert run.saved().memory["n"] <= 110


def test_a_loop_that_never_leaves_the_deciding_thread_hears_a_signal(gates: Gates) -> None:
    def interrupt_after_a_hundred(path: str, status: str) -> None:
        if path == "loop[100].more":
            run.orchestrator.interrupt("SIGINT")

    run = Driven(spinning(5_000), listener=Watching(interrupt_after_a_hundred))
    assert run.run().status is RunStatus.CANCELLED
    assert run.saved().memory["n"] <= 110


def test_a_loop_that_never_leaves_the_deciding_thread_is_saved_on_the_way(gates: Gates) -> None:
    class Counting(InMemoryPersistenceManager):
        largest = 0

        def save(self, changes: RunChanges) -> None:
            self.largest = max(self.largest, len(changes.tasks))
            super().save(changes)

    store = Counting()
    assert Driven(spinning(3_000), store=store).run().status is RunStatus.COMPLETED
    assert store.largest < 1_500


def test_a_thousand_increments_at_once_make_a_thousand(gates: Gates) -> None:
    tasks: dict[str, Any] = {f"m{n}": call("tools.memory.increment", "n") for n in range(500)}
    tasks |= {f"t{n}": call("driven.note") for n in range(50)}
    tasks["each"] = {
        "operator_type": "foreach",
        "items": list(range(500)),
        "parallel": True,
        "loop_body": [
            {"task_id": "note", **call("driven.note")},
            {"task_id": "more", **call("tools.memory.increment", "n", after=["note"])},
        ],
    }
    run = Driven(tasks)
    assert run.run().status is RunStatus.COMPLETED
    assert run.saved().memory == {"n": 1_000}


def test_two_runs_in_two_threads_do_not_meet(gates: Gates) -> None:
    store = InMemoryPersistenceManager()
    tasks = {
        "set": call("tools.memory.set", "who", "{{variables.me}}"),
        "both": call("driven.together", 2, after=["set"]),
        "end": call("driven.note", "{{memory.who}} {{variables.me}}", after=["both"]),
    }
    runs = [Driven(tasks, store=store, run_id=me, variables={"me": me}).start() for me in ("one", "two")]
    assert [run.end().result for run in runs] == ["one one", "two two"]
    assert gates.most_inside == 2


class FailingStore(InMemoryPersistenceManager):
    """Fails at the first save that holds ``path`` as completed, and at every one after it until it is mended."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path
        self.failing: bool | None = False

    def save(self, changes: RunChanges) -> None:
        hit = any(row.task_id == self._path and row.status.value == "completed" for row in changes.tasks)
        if self.failing is not None and (hit or self.failing):
            self.failing = True
            raise StorageError("the disk is full")
        super().save(changes)

    def mend(self) -> None:
        self.failing = None


def test_a_store_that_fails_ends_the_run_with_its_error_and_leaves_it_to_be_resumed(gates: Gates) -> None:
    store = FailingStore("b")
    tasks = {f"{name}": call("driven.note", name, after=[before] if before else []) for before, name in pairs("abcd")}
    with pytest.raises(StorageError, match="the disk is full"):
        Driven(tasks, store=store).run()
    assert gates.entered[:2] == ["a", "b"] and "d" not in gates.entered
    saved = store.load_run("r")
    assert saved is not None and saved.status is RunStatus.RUNNING
    assert {path for path, row in saved.tasks.items() if row.status.value == "completed"} == {"a"}

    store.mend()
    gates.entered.clear()
    assert Driven(tasks, store=store).run().result == "d"
    assert gates.entered == ["b", "c", "d"]


def pairs(names: str) -> list[tuple[str, str]]:
    return list(zip(["", *names], names, strict=False))


def test_a_store_that_fails_leaves_no_work_behind(gates: Gates) -> None:
    """Nobody waits any more for what is being done: it is told to stop."""
    store = FailingStore("b")
    tasks = {"held": call("driven.hold", "never"), "a": call("driven.note"), "b": call("driven.note", after=["a"])}
    with pytest.raises(StorageError):
        Driven(tasks, store=store).run()
    assert eventually(lambda: gates.stopped == ["held"], within=2)
