"""What a process keeps of a run is what the rows say: cases in which it once was not, and counts that must be exact."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

import pytest

from highway_core.engine.durable import desk
from highway_core.engine.durable.services import DurableServices
from highway_core.errors import ConnectionLostError
from highway_core.lifecycle import QueueKind, RunStatus, TaskStatus
from tests.desk_runs import compiled, durable_end, hold_invariants, services_for, write_children
from tests.desks import LONG_AGO, Desks, Seat

_numbers = count(1)


def call(function: str, *args: Any, **more: Any) -> dict[str, Any]:
    return {"operator_type": "task", "function": function, "args": list(args), **more}


def body(**tasks: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"task_id": name, **task} for name, task in tasks.items()]


@pytest.fixture
def services(durable_url: str, tmp_path: Path) -> DurableServices:
    write_children(tmp_path)
    return services_for(durable_url, tmp_path)


@pytest.fixture
def desks(durable_url: str, services: DurableServices) -> Any:
    opened = Desks(durable_url, services, 1, seats=2, queue=f"images-{next(_numbers)}")
    opened.faults = ()
    yield opened
    opened.close()


def start(desks: Desks, tasks: dict[str, Any]) -> str:
    return desks.start(f"{desks.queue}-run", compiled(tasks, desks.services))


def ended(desks: Desks, run_id: str) -> dict[str, str]:
    desks.finish()
    hold_invariants(desks, activations=3)
    assert not desks.open_runs(), desks.stuck()
    tasks: dict[str, str] = durable_end(desks, run_id)["tasks"]
    return tasks


def test_a_retry_that_is_due_while_the_window_is_full_outlives_its_process(desks: Desks) -> None:
    desks.services.run_window = 1
    retry = {"max_retries": 1, "delay": 1}
    run_id = start(desks, {"a": call("test.fail", retry_policy=retry), "b": call("test.echo"), "c": call("test.echo")})
    first = desks.seats[0]
    first.hands.places = 0
    for _ in range(4):
        desks.claim(first, 1, 5)
        desks.process(first, 10)
        desks.answer(first)
        desks.process(first, 10)
    desks.wake()
    desks.claim(first, 0, 5)
    desks.process(first, 10)
    desks.kill(first)
    assert ended(desks, run_id) == {"a": "failed", "b": "completed", "c": "completed"}


def test_a_paused_run_ends_with_the_last_of_its_tasks(desks: Desks) -> None:
    run_id = start(desks, {"a": call("test.echo", 1)})
    seat = desks.seats[0]
    for _ in range(2):
        desks.claim(seat, 1, 5)
        desks.process(seat, 10)
    assert seat.hands.jobs
    desks.operations.pause(run_id, "test")
    desks.answer(seat)
    desks.process(seat, 10)
    assert desks.status(run_id) is RunStatus.COMPLETED


def test_an_operator_whose_members_are_over_is_asked_again_when_its_run_is_tried_again(desks: Desks) -> None:
    inner = {"branches": {"a": ["x"]}, "branch_workflows": {"a": {"tasks": {"x": call("test.echo", 1)}}}}
    refused = [{"variable": "result", "check": "equals", "value": 5}]
    run_id = start(desks, {"p": {"operator_type": "parallel", "postconditions": refused, **inner}})
    assert ended(desks, run_id) == {"p": "failed", "x": "completed"}
    desks.operations.retry(run_id, "test")
    assert ended(desks, run_id) == {"p": "failed", "x": "completed"}


def test_a_loop_that_begins_anew_starts_child_runs_of_its_own(desks: Desks) -> None:
    each = body(c={"operator_type": "child_workflow", "children": {"b": {"workflow_name": "child_fails"}}})
    loop = {"operator_type": "foreach", "items": [1], "loop_body": each, "retry_policy": {"max_retries": 1, "delay": 1}}
    run_id = start(desks, {"f": loop})
    assert ended(desks, run_id) == {"f": "failed", "f[0].c": "failed"}
    rows = desks.connection.fetch(
        "SELECT workflow_id FROM workflows WHERE parent_workflow_id = %s ORDER BY 1", (run_id,)
    )
    assert [row[0] for row in rows] == [f"{run_id}/f[0].c/b", f"{run_id}/f[0].c/b#2.1"]


def test_two_tasks_that_begin_in_one_commit_do_not_both_hold_their_key(desks: Desks) -> None:
    keyed = {"idempotency_key": "{{run.id}}-key", "result_key": "r"}
    run_id = start(desks, {"a": call("test.echo", 1, **keyed), "b": call("test.echo", 2, **keyed)})
    ended(desks, run_id)
    values = durable_end(desks, run_id)["values"]
    assert values["a"] == values["b"]
    assert len({path for _, path, _ in desks.executed}) == 1


def test_a_key_outlives_the_image_of_its_holder(desks: Desks) -> None:
    keyed = {"idempotency_key": "{{run.id}}-key"}
    run_id = start(desks, {"a": call("test.echo", 1, **keyed), "b": call("test.echo", 2, dependencies=["a"], **keyed)})
    seat = desks.seats[0]
    seat.hands.places = 0
    for _ in range(2):
        desks.claim(seat, 1, 5)
        desks.process(seat, 10)
    seat.desk.forget([run_id])
    assert ended(desks, run_id) == {"a": "completed", "b": "completed"}
    assert durable_end(desks, run_id)["values"] == {"a": 1, "b": 1}


def test_a_claim_that_is_known_to_be_somebody_elses_by_now_begins_nothing(desks: Desks) -> None:
    run_id = start(desks, {"a": call("test.echo", 1)})
    slow, quick = desks.seats
    slow.hands.places = quick.hands.places = 0
    desks.claim(slow, 0, 5)
    desks.process(slow, 10)
    desks.claim(slow, 1, 0)
    assert desks.rescue() == 1
    desks.claim(quick, 1, 0)
    desks.process(quick, 10)
    slow.desk.forget([run_id])  # its next image is of rows that say who has it
    desks.process(slow, 10)
    assert len(quick.hands.jobs) == 1
    assert not slow.hands.jobs
    assert ended(desks, run_id) == {"a": "completed"}


def test_the_timeout_of_an_attempt_whose_lease_is_lost_is_not_heard(desks: Desks) -> None:
    limit = {"timeout_policy": {"timeout": 5, "kill_on_timeout": True}}
    run_id = start(desks, {"a": call("test.echo", 1, **limit)})
    slow, quick = desks.seats
    slow.hands.places = quick.hands.places = 0
    desks.claim(slow, 0, 5)
    desks.process(slow, 10)
    desks.claim(slow, 1, 0)
    desks.process(slow, 10)
    desks.rescue()
    desks.claim(quick, 1, 0)
    desks.process(quick, 10)
    assert desks.time_out(slow)
    desks.process(slow, 10)
    assert ended(desks, run_id) == {"a": "completed"}


def test_a_task_is_held_to_the_same_timeouts_by_whoever_takes_its_run_over(desks: Desks) -> None:
    each = {"operator_type": "foreach", "items": [1], "dynamic": True, "timeout_policy": {"timeout": 900}}
    run_id, first = begin_of(desks, {"a": {**each, "loop_body": body(w={"operator_type": "wait", "wait_for": 60})}}, 2)
    sql = "SELECT progress_json::json -> 'timeouts' FROM tasks WHERE workflow_id = %s AND task_id = 'a'"
    ((held,),) = desks.connection.fetch(sql, (run_id,))
    assert held.keys() == {"timeout"}
    desks.kill(first)
    desks.operations.add_items(run_id, "a", [2], "test")
    assert desks.connection.fetch(sql, (run_id,)) == [(held,)]
    assert ended(desks, run_id) == {"a": "completed", "a[0].w": "completed", "a[1].w": "completed"}


def test_a_message_that_is_put_again_is_not_used_up_by_who_had_it_before(desks: Desks) -> None:
    retry = {"max_retries": 3, "delay": 1}
    run_id = start(desks, {"a": call("test.fail", retry_policy=retry)})
    seat = desks.seats[0]
    fences = []
    for _ in range(12):
        desks.claim(seat, 1, 5)
        desks.process(seat, 10)
        desks.answer(seat)
        desks.process(seat, 10)
        where = "WHERE workflow_id = %s AND kind = %s AND status = %s"
        waiting = (run_id, QueueKind.RETRY.value, TaskStatus.WAITING_FOR_TIMER.value)
        fences += [row[0] for row in desks.connection.fetch(f"SELECT fence FROM task_queue {where}", waiting)]
        desks.connection.run(f"UPDATE task_queue SET due_at = {LONG_AGO} {where}", waiting)
        desks.wake()
    assert len(set(fences)) == 3
    assert fences == sorted(fences)


def test_counts_from_several_desks_are_exact(desks: Desks) -> None:
    desks.services.run_window = 3
    desks.faults = ("rescue", "forget", "cut")
    each = body(count=call("tools.memory.increment", "n", dependencies=["work"]), work=call("test.echo", "{{item}}"))
    run_id = start(
        desks, {"f": {"operator_type": "foreach", "items": list(range(60)), "loop_body": each, "parallel": True}}
    )
    for _ in range(300):
        desks.step()
    ended(desks, run_id)
    assert durable_end(desks, run_id)["memory"] == {"n": 60}


BIG = "x" * 5_000


def begin_of(desks: Desks, tasks: dict[str, Any], turns: int) -> tuple[str, Seat]:
    """A run of which one seat has made so many turns."""
    run_id = start(desks, tasks)
    seat = desks.seats[0]
    for _ in range(turns):
        desks.claim(seat, 1, 5)
        desks.answer(seat)
        desks.process(seat, 10)
    return run_id, seat


def test_a_large_result_is_let_go_when_it_is_stored_and_read_where_it_is_named(desks: Desks) -> None:
    wait = {"operator_type": "wait", "wait_for": "PT5S", "dependencies": ["a"]}
    named = {"b": call("test.echo", "{{r}}", dependencies=["w"]), "c": call("test.echo", "{{a}}", dependencies=["w"])}
    run_id, seat = begin_of(desks, {"a": call("test.echo", BIG, result_key="r"), "w": wait, **named}, 3)
    image = seat.driver.images[run_id]
    a = image.instance("a")
    assert a is not None
    assert (a.status, a.result_text) == (TaskStatus.COMPLETED, None)
    image.run.root.outputs.peek("a").let_go()  # type: ignore[attr-defined]
    assert ended(desks, run_id) == dict.fromkeys("abcw", "completed")
    assert {name: durable_end(desks, run_id)["values"][name] for name in "abc"} == dict.fromkeys("abc", BIG)


def test_a_decision_waits_for_a_database_that_it_has_to_read(
    desks: Desks, services: DurableServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails = iter([True, True, False])

    def read(run_id: str, path: str) -> str:
        if next(fails):
            raise ConnectionLostError("The test has taken the database away.")
        return services.read_result(run_id, path)

    wait = {"operator_type": "wait", "wait_for": "PT5S", "dependencies": ["a"]}
    check = {"operator_type": "condition", "condition": f"{{{{a}}}} == '{BIG}'", "dependencies": ["w"]}
    arms = {"yes": call("test.echo", 1, dependencies=["c"]), "no": call("test.echo", 2, dependencies=["c"])}
    tasks = {"a": call("test.echo", BIG), "w": wait, "c": {**check, "if_true": "yes", "if_false": "no"}, **arms}
    run_id, _ = begin_of(desks, tasks, 3)
    for seat in desks.seats:
        seat.desk.forget(list(seat.driver.images))
        monkeypatch.setattr(seat.desk._large, "fetch", read)
    assert ended(desks, run_id) == {**dict.fromkeys(["a", "c", "w", "yes"], "completed"), "no": "skipped"}
    assert next(fails, None) is None
    assert sum(one.startswith("lost") for one in desks.history) == 2


def test_inputs_that_are_variables_too_are_kept_once(desks: Desks) -> None:
    workflow = compiled({"a": call("test.echo", "{{big}}")}, desks.services, variables={"big": "", "other": [1]})
    run_id = desks.start(f"{desks.queue}-run", workflow, {"big": [BIG]})
    seat = desks.seats[0]
    seat.hands.places = 0
    desks.claim(seat, 0, 5)
    desks.process(seat, 10)
    seat.desk.forget([run_id])
    desks.claim(seat, 1, 0)
    desks.process(seat, 10)
    run = seat.driver.images[run_id].run
    assert run.variables == {"big": [BIG], "other": [1]}
    assert run.variables["big"] is run.inputs["big"]


def test_images_that_are_too_heavy_are_forgotten_but_not_for_one_that_is_so_alone(
    desks: Desks, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait = {"operator_type": "wait", "wait_for": "PT5S"}
    seat = desks.seats[0]

    def kept(name: str, tasks: dict[str, Any]) -> set[str]:
        desks.start(f"{desks.queue}-{name}", compiled(tasks, desks.services))
        desks.claim(seat, 0, 5)
        desks.process(seat, 10)
        return {run_id.rpartition("-")[2] for run_id in seat.driver.images}

    monkeypatch.setattr(desk, "_MOST_BYTES", 40_000)
    for number in range(8):
        small = kept(f"{number}", {"w": wait})
    assert small == {"3", "4", "5", "6", "7"}
    assert kept("heavy", {f"w{number}": wait for number in range(100)}) == {"7", "heavy"}
    assert kept("8", {"w": wait}) == {"heavy", "8"}
