"""Taking up LOCAL runs that ended too early: what is kept, what is decided anew, and who may do it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from highway_core.errors import RunConflictError
from highway_core.lifecycle import RunStatus, TaskStatus
from highway_core.persistence.in_memory import InMemoryPersistenceManager
from highway_core.persistence.manager import RunChanges
from tests import driven
from tests.driven import Driven, Gates, Watching, call
from tests.waiting import eventually


class Died(BaseException):
    """Stands for ``kill -9``."""


class DyingStore(InMemoryPersistenceManager):
    """Dies at the save that would bring ``path`` to ``status``; passed on again once ``status`` is None."""

    def __init__(self, path: str, status: str, *, after: bool = False) -> None:
        super().__init__()
        self._path = path
        self._after = after
        self.status: str | None = status

    def save(self, changes: RunChanges) -> None:
        dies = any(row.task_id == self._path and row.status.value == self.status for row in changes.tasks)
        if dies and not self._after:
            raise Died
        super().save(changes)
        if dies:
            raise Died


@pytest.fixture
def gates() -> Iterator[Gates]:
    driven.gates = Gates()
    yield driven.gates
    for gate in driven.gates.open.values():
        gate.set()


def killed(tasks: dict[str, Any], path: str, status: str, *, after: bool = False, **more: Any) -> DyingStore:
    """The store of a run whose process died when it came to that status."""
    store = DyingStore(path, status, after=after)
    with pytest.raises(Died):
        Driven(tasks, store=store, **more).run()
    store.status = None
    driven.gates.entered.clear()
    return store


def test_a_task_that_died_in_its_retry_delay_keeps_its_attempts_and_its_moment(gates: Gates) -> None:
    tasks = {"flaky": call("driven.fail", retry_policy={"max_retries": 1, "delay": "PT1H"})}
    store = killed(tasks, "flaky", "WAITING_FOR_TIMER", after=True)
    before = store.load_run("r")
    watching = Watching()
    again = Driven(tasks, store=store, listener=watching).start()
    assert eventually(lambda: watching.seen)
    assert (watching.seen, gates.entered) == ([("flaky", "WAITING_FOR_TIMER")], [])
    again.orchestrator.cancel()
    again.end()

    row = before.tasks["flaky"] if before else None
    assert row is not None and (row.attempt, row.status) == (1, TaskStatus.WAITING_FOR_TIMER)
    store.save(RunChanges("r", tasks=[row._replace(wake_up_at=row.created_at)]))
    assert Driven(tasks, store=store).run().status is RunStatus.FAILED
    assert gates.entered == ["flaky"], "one retry, in all"
    assert again.saved().tasks["flaky"].attempt == 2


def test_what_an_earlier_attempt_of_a_loop_completed_is_not_this_attempt_s(gates: Gates) -> None:
    """The loop's retry begins anew; when it dies, it goes on with the iterations of that attempt."""
    tasks = {
        "loop": {
            "operator_type": "foreach",
            "items": [0, 1, 2],
            "retry_policy": {"max_retries": 1, "delay": 0},
            "result_key": "all",
            "loop_body": [
                {"task_id": "count", **call("tools.memory.increment", "n")},
                {"task_id": "seen", **call("driven.note", "{{memory.n}}", after=["count"]), "result_key": "n"},
                {"task_id": "third", **call("driven.fail_if", "{{memory.n}}", 3, after=["seen"])},
            ],
        }
    }
    quiet = Driven(tasks, folder=None).run()
    assert quiet.result == [{"n": 4}, {"n": 5}, {"n": 6}]
    store = DyingStore("never", "completed")

    def die_in_the_second_attempt(changes: RunChanges) -> bool:
        return any(row.task_id == "loop[0].third" and row.result_json == "4" for row in changes.tasks)

    saving = store.save

    def save(changes: RunChanges) -> None:
        saving(changes)
        if die_in_the_second_attempt(changes):
            raise Died

    store.save = save  # type: ignore[method-assign]
    with pytest.raises(Died):
        Driven(tasks, store=store).run()
    store.save = saving  # type: ignore[method-assign]
    assert Driven(tasks, store=store).run().result == [{"n": 4}, {"n": 5}, {"n": 6}]


def test_the_timeout_of_branches_goes_on_after_a_restart(gates: Gates) -> None:
    tasks = {
        "fan": {"operator_type": "parallel", "branches": {"a": ["nap"]}, "timeout": 0.5},
        "first": call("driven.note"),
        "nap": {"operator_type": "wait", "wait_for": "PT1H", "dependencies": ["fan"]},
    }
    store = killed(tasks, "nap", "WAITING_FOR_TIMER", after=True)
    again = Driven(tasks, store=store)
    ended = again.start().end(within=5)
    assert ended.status is RunStatus.FAILED
    assert "timeout: 0.5 s" in (ended.error or "")


def test_a_run_of_this_process_is_not_taken_up_while_it_goes_on(gates: Gates) -> None:
    store = InMemoryPersistenceManager()
    tasks = {"a": call("driven.note"), "b": call("driven.hold", "gate", after=["a"]), "nap": _nap("10ms")}
    first = Driven(tasks, store=store).start()
    gates.wait_for("b")
    second = Driven(tasks, store=store).start()
    assert eventually(lambda: not second.running or gates.entered.count("b") == 2)
    gates.open["gate"].set()
    with pytest.raises(RunConflictError):
        second.end()
    assert first.end().status is RunStatus.COMPLETED


def test_a_wait_that_was_interrupted_keeps_its_moment(gates: Gates) -> None:
    moments = []
    store = InMemoryPersistenceManager()
    for _ in range(2):
        run = Driven({"nap": _nap("PT1H")}, store=store).start()
        assert eventually(lambda run=run: "nap" in run.statuses() and run.saved().status is RunStatus.RUNNING)
        assert eventually(lambda run=run: run.statuses()["nap"] == "WAITING_FOR_TIMER")
        run.orchestrator.interrupt("SIGTERM")
        run.end()
        moments.append(run.saved().tasks["nap"].wake_up_at)
    assert moments[0] is not None
    assert moments[0] == moments[1]


def _nap(duration: str) -> dict[str, Any]:
    return {"operator_type": "wait", "wait_for": duration}


class LastWords(InMemoryPersistenceManager):
    """Its former owner completes ``path`` after the run was looked at, and dies before it is taken over."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def take_over(self, run_id: str, expected_owner: str, owner: str, status: RunStatus) -> None:
        saved = self.load_run(run_id)
        assert saved is not None
        row = saved.tasks[self._path]
        self.save(RunChanges(run_id, tasks=[row._replace(status=TaskStatus.COMPLETED, result_json='"last words"')]))
        super().take_over(run_id, expected_owner, owner, status)


def test_what_the_former_owner_completed_at_the_last_moment_is_not_done_again(gates: Gates) -> None:
    store = LastWords("b")
    tasks = {"a": call("driven.note"), "b": call("driven.hold", "gate", after=["a"]), "nap": _nap("PT1H")}
    first = Driven(tasks, store=store).start()
    gates.wait_for("b")
    first.orchestrator.interrupt("SIGTERM")
    assert first.end().status is RunStatus.CANCELLED
    gates.entered.clear()

    again = Driven(tasks, store=store).start()
    assert eventually(lambda: again.statuses()["nap"] == "WAITING_FOR_TIMER")
    again.orchestrator.cancel()
    again.end()
    assert gates.entered == []


def test_a_run_past_its_deadline_is_not_taken_up_for_longer(gates: Gates) -> None:
    tasks = {"a": call("driven.note"), "nap": _nap("PT1H")}
    run = Driven(tasks, deadline_seconds=0.3, deadline_action="fail")
    assert "deadline of 0.3 s" in (run.run().error or "")
    again = Driven(tasks, store=run.store, deadline_seconds=0.3, deadline_action="fail").run()
    assert (again.status, again.root.outputs) == (RunStatus.FAILED, {"a": None})


def test_a_run_that_was_cancelled_goes_on_where_it_was(gates: Gates) -> None:
    tasks = {
        "a": call("driven.note", 1),
        "b": call("driven.hold", "gate", "{{a}}", after=["a"]),
        "beside": call("driven.hold", "gate", after=["a"]),
    }
    run = Driven(tasks).start()
    gates.wait_for("b", "beside")
    run.orchestrator.cancel()
    assert run.end().status is RunStatus.CANCELLED
    gates.open["gate"].set()
    again = Driven(tasks, store=run.store).run()
    assert (again.status, again.result) == (RunStatus.COMPLETED, {"b": 1, "beside": None})
    assert sorted(gates.entered) == ["a", "b", "b", "beside", "beside"]


def test_other_inputs_under_the_same_run_id_are_refused(gates: Gates) -> None:
    tasks = {"a": call("driven.fail")}
    run = Driven(tasks, variables={"n": 0}, inputs={"n": 1})
    assert run.run().status is RunStatus.FAILED
    with pytest.raises(RunConflictError, match="other inputs"):
        Driven(tasks, store=run.store, variables={"n": 0}, inputs={"n": 2}).run()
    assert Driven(tasks, store=run.store, variables={"n": 0}, inputs={"n": 1}).run().status is RunStatus.FAILED
    assert gates.entered == ["a", "a"]
