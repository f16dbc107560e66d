"""What every store of LOCAL runs does, be it SQLite, PostgreSQL, files or memory."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from highway_core.errors import RunConflictError, RunNotFoundError, StorageError
from highway_core.lifecycle import RunStatus, TaskStatus
from highway_core.persistence.manager import (
    PersistenceManager,
    ResultRecord,
    RunChanges,
    RunRecord,
    RunUpdate,
)
from tests import stored_runs
from tests.stored_runs import NOW, Store, attempt, new_run, reopened, task


def created(manager: PersistenceManager, run_id: str | None = None) -> RunRecord:
    run = new_run(run_id)
    manager.create_run(run)
    return run


def test_an_unknown_run_is_nothing_and_not_an_error(manager: PersistenceManager) -> None:
    assert manager.load_run("nobody") is None
    assert manager.load_workflow_state("nobody") == (None, set())


def test_a_run_id_is_given_once(manager: PersistenceManager) -> None:
    run = created(manager)

    with pytest.raises(RunConflictError, match=f"Run '{run.run_id}' exists already"):
        manager.create_run(run._replace(workflow_name="other", definition_hash="h2", owner="b:2:2"))

    saved = manager.load_run(run.run_id)
    assert saved is not None
    assert saved.record == run


@pytest.mark.parametrize(
    "run_id", ["../up", "a/b", ".", "..", "", "Ünï ☃", "r" * 900, "%2e", "a\nb", "-rf", "C:\\x", "run", "RUN"]
)
def test_any_text_can_be_a_run_id(store: Store, manager: PersistenceManager, run_id: str) -> None:
    for each in (run_id, f"{run_id}x"):
        manager.create_run(new_run()._replace(run_id=each, workflow_name=f"of {each}"))
    manager.save(RunChanges(run_id, tasks=[task()]))

    saved = reopened(store, manager, run_id)

    assert (saved.record.run_id, saved.record.workflow_name) == (run_id, f"of {run_id}")
    assert list(saved.tasks) == ["start"]


def test_runs_with_the_same_task_ids_do_not_touch_each_other(manager: PersistenceManager) -> None:
    first, second = created(manager), created(manager)
    manager.save(RunChanges(first.run_id, tasks=[task("x")], memory={"k": "1"}))
    manager.save(RunChanges(second.run_id, tasks=[task("x", TaskStatus.FAILED, error_message="no")]))

    saved = manager.load_run(first.run_id)

    assert saved is not None
    assert saved.tasks["x"] == task("x")
    assert saved.memory == {"k": 1}


def test_what_the_document_fixes_stays_as_first_stored(manager: PersistenceManager) -> None:
    run = created(manager)
    manager.save(RunChanges(run.run_id, tasks=[task("a", TaskStatus.RUNNING)]))
    later = task("a", columns=stored_runs.COLUMNS._replace(function="other"), created_at=NOW + timedelta(days=1))
    manager.save(RunChanges(run.run_id, tasks=[later]))

    saved = manager.load_run(run.run_id)

    assert saved is not None
    assert saved.tasks["a"] == task("a")


def test_a_task_that_changes_twice_in_one_save_ends_as_it_was_last(manager: PersistenceManager) -> None:
    run = created(manager)
    both = [task("a", TaskStatus.RUNNING), task("b", TaskStatus.RUNNING), task("a", created_at=NOW - timedelta(1))]
    results = [ResultRecord("a", "r", "1"), ResultRecord("a", "r", "2")]
    manager.save(RunChanges(run.run_id, tasks=both, results=results))

    saved = manager.load_run(run.run_id)
    state, completed = manager.load_workflow_state(run.run_id)

    assert saved is not None
    assert saved.tasks == {"a": task("a"), "b": task("b", TaskStatus.RUNNING)}
    assert list(saved.tasks) == ["a", "b"]
    assert state is not None
    assert (state.results, completed) == ({"r": 2}, {"a"})


def test_ten_thousand_tasks_go_in_one_save_and_come_back_in_order(manager: PersistenceManager) -> None:
    run = created(manager)
    tasks = [task(f"t{number}") for number in range(10_000)]
    manager.save(RunChanges(run.run_id, tasks=tasks))

    saved = manager.load_run(run.run_id)

    assert saved is not None
    assert list(saved.tasks.values()) == tasks


def test_an_empty_save_is_nothing(manager: PersistenceManager) -> None:
    manager.save(RunChanges("nobody"))


@pytest.mark.parametrize(
    "change",
    [
        {"tasks": [task()]},
        {"results": [ResultRecord("a", "r", "1")]},
        {"attempts": [attempt()]},
        {"memory": {"k": "1"}},
        {"variables": {}},
        {"run": RunUpdate(RunStatus.COMPLETED)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_run_that_was_never_created_cannot_be_saved(manager: PersistenceManager, change: dict[str, object]) -> None:
    with pytest.raises(StorageError, match="Run 'nobody' cannot be saved: it was never created"):
        manager.save(RunChanges("nobody", **change))  # type: ignore[arg-type]
    assert manager.load_run("nobody") is None


def test_taking_a_run_over_clears_how_it_ended(manager: PersistenceManager) -> None:
    run = created(manager)
    end = RunUpdate(RunStatus.FAILED, "a: it broke", '"half"', NOW)
    manager.save(RunChanges(run.run_id, tasks=[task()], run=end))

    manager.take_over(run.run_id, run.owner, "host:2:2", RunStatus.RUNNING)

    saved = manager.load_run(run.run_id)
    assert saved is not None
    assert (saved.status, saved.error_message, saved.result_json, saved.ended_at) == (
        RunStatus.RUNNING,
        None,
        None,
        None,
    )
    assert saved.record == run._replace(owner="host:2:2")
    assert saved.tasks == {"start": task()}


def test_a_resumed_run_goes_on_where_it_was_and_ends_anew(store: Store, manager: PersistenceManager) -> None:
    run = created(manager)
    manager.save(RunChanges(run.run_id, tasks=[task("a")], run=RunUpdate(RunStatus.FAILED, "broke", None, NOW)))
    manager.close()
    other = store.open()
    other.take_over(run.run_id, run.owner, "host:2:2", RunStatus.RUNNING)
    other.save(RunChanges(run.run_id, tasks=[task("b")]))
    later = NOW + timedelta(hours=1)
    other.save(RunChanges(run.run_id, run=RunUpdate(RunStatus.COMPLETED, None, "1", later)))

    saved = reopened(store, other, run.run_id)

    assert (saved.status, saved.error_message, saved.ended_at) == (RunStatus.COMPLETED, None, later)
    assert list(saved.tasks) == ["a", "b"]


def test_only_the_expected_owner_is_replaced(manager: PersistenceManager) -> None:
    run = created(manager)
    manager.take_over(run.run_id, run.owner, "fast:1:1", RunStatus.RUNNING)

    with pytest.raises(RunConflictError, match=r"taken over by fast:1:1"):
        manager.take_over(run.run_id, run.owner, "slow:1:1", RunStatus.RUNNING)
    with pytest.raises(RunNotFoundError, match="nobody"):
        manager.take_over("nobody", "", "slow:1:1", RunStatus.RUNNING)


def test_of_many_that_take_a_run_over_at_once_one_succeeds(store: Store, manager: PersistenceManager) -> None:
    run = created(manager)
    start, won, lost = threading.Barrier(6), [], []

    def contend(number: int) -> None:
        rival = store.open()
        start.wait()
        try:
            rival.take_over(run.run_id, run.owner, f"rival:{number}:1", RunStatus.RUNNING)
            won.append(f"rival:{number}:1")
        except RunConflictError:
            lost.append(number)
        finally:
            rival.close()

    threads = [threading.Thread(target=contend, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    saved = store.open().load_run(run.run_id)
    assert saved is not None
    assert (won, len(lost)) == ([saved.record.owner], 5)


def test_many_threads_may_save_at_once(store: Store, manager: PersistenceManager) -> None:
    run = created(manager)

    def work(number: int) -> None:
        for step in range(20):
            manager.save(RunChanges(run.run_id, tasks=[task(f"{number}.{step}")], memory={f"{number}": f"{step}"}))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    saved = reopened(store, manager, run.run_id)
    assert set(saved.tasks) == {f"{number}.{step}" for number in range(6) for step in range(20)}
    assert saved.memory == {f"{number}": 19 for number in range(6)}


def test_closing_one_manager_leaves_the_others_at_work(store: Store, manager: PersistenceManager) -> None:
    run = created(manager)
    other = store.open()
    other.close()
    other.close()

    manager.save(RunChanges(run.run_id, tasks=[task()]))

    saved = manager.load_run(run.run_id)
    assert saved is not None
    assert list(saved.tasks) == ["start"]


def test_the_first_result_under_an_idempotency_key_stays(store: Store, manager: PersistenceManager) -> None:
    first, second = created(manager), created(manager)
    assert manager.find_idempotent("pay-7") is None
    manager.save(RunChanges(first.run_id, tasks=[task()], idempotent={"pay-7": '{"n": 1}', "../x": "2"}))
    manager.save(RunChanges(second.run_id, idempotent={"pay-7": '{"n": 2}'}))
    manager.close()

    other = store.open()

    assert other.find_idempotent("pay-7") == '{"n": 1}'
    assert other.find_idempotent("../x") == "2"
    other.close()


def test_state_holds_the_values_of_a_run_and_its_completed_tasks(manager: PersistenceManager) -> None:
    run = created(manager)
    manager.save(
        RunChanges(
            run.run_id,
            tasks=[task("a"), task("b", TaskStatus.FAILED), task("c", TaskStatus.RUNNING)],
            results=[ResultRecord("a", "report", '{"id": 7}')],
            memory={"count": "3"},
            variables={"region": "us"},
        )
    )

    state, completed = manager.load_workflow_state(run.run_id)

    assert state is not None
    assert completed == {"a"}
    assert (state.variables, state.results, state.memory) == ({"region": "us"}, {"report": {"id": 7}}, {"count": 3})
    assert (state.get_result("report"), state.get_result("x")) == ({"id": 7}, None)


def test_results_stay_in_an_iteration_of_foreach_but_not_of_while(manager: PersistenceManager) -> None:
    run = created(manager)
    each, poll = (stored_runs.COLUMNS._replace(operator_type=name) for name in ("foreach", "while"))
    results = [
        ("each[0].a", "in_each"),
        ("poll[0].a", "status"),
        ("poll[1].a", "status"),
        ("each[0].poll[0].a", "deep"),
    ]
    manager.save(
        RunChanges(
            run.run_id,
            tasks=[task("each", columns=each), task("poll", columns=poll), task("each[0].poll", columns=poll)],
            results=[ResultRecord(path, key, f'"{path}"') for path, key in results],
        )
    )

    state, _ = manager.load_workflow_state(run.run_id)

    assert state is not None
    assert state.results == {"status": "poll[1].a"}


def test_an_error_message_may_quote_any_bytes(manager: PersistenceManager) -> None:
    run = created(manager)
    text = "bad \0 byte and \ud800 surrogate"
    manager.save(
        RunChanges(
            run.run_id,
            tasks=[task(error_message=text)],
            attempts=[attempt(error_message=text)],
            run=RunUpdate(RunStatus.FAILED, text),
        )
    )

    saved = manager.load_run(run.run_id)

    assert saved is not None
    assert saved.error_message == saved.tasks["start"].error_message == "bad � byte and ? surrogate"


def test_a_value_that_is_not_json_is_refused_by_name_and_nothing_is_stored(manager: PersistenceManager) -> None:
    with pytest.raises(StorageError, match="Variable 'when' cannot be stored as JSON"):
        manager.create_run(new_run("odd", variables={"fine": 1, "when": NOW}))
    assert manager.load_run("odd") is None

    run = created(manager)
    with pytest.raises(StorageError, match=r"when|not JSON"):
        manager.save(RunChanges(run.run_id, tasks=[task()], variables={"when": {1, 2}}))
    saved = manager.load_run(run.run_id)
    assert saved is not None
    assert saved.tasks == {}


def test_what_the_caller_does_to_its_objects_afterwards_changes_nothing(manager: PersistenceManager) -> None:
    variables = {"list": [1]}
    run = new_run(variables=variables)
    manager.create_run(run)
    variables["list"].append(2)

    saved = manager.load_run(run.run_id)

    assert saved is not None
    assert saved.variables == {"list": [1]}
    saved.variables["list"].append(3)
    again = manager.load_run(run.run_id)
    assert again is not None
    assert again.variables == {"list": [1]}
