"""What a process keeps of a run is what the rows say: cases in which it once was not, and counts that must be exact."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

import pytest

from highway_core.engine.durable.services import DurableServices
from highway_core.lifecycle import QueueKind, RunStatus, TaskStatus
from tests.desk_runs import compiled, durable_end, hold_invariants, services_for, write_children
from tests.desks import LONG_AGO, Desks

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
