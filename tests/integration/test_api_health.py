"""Health and readiness, and what a run that is under way looks like."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from highway_core.config import Settings
from highway_core.lifecycle import RunStatus, TaskStatus
from highway_core.persistence.api_keys import Scope
from highway_core.persistence.run_waiter import CHANNEL
from tests.api_client import Api, database
from tests.waiting import eventually


@pytest.fixture(scope="module")
def shared(postgres_server: str) -> Iterator[Api]:
    with database(postgres_server) as url:
        api = Api(url, Settings(api_threads=4))
        yield api
        api.close()


@pytest.fixture
def api(shared: Api) -> Api:
    shared.sql("DELETE FROM workers")
    shared.sql("DELETE FROM workflows")
    return shared


def task(api: Api, run_id: str, task_id: str, status: TaskStatus, scope: str = "") -> None:
    api.sql(
        "INSERT INTO tasks (workflow_id, task_id, scope, operator_type, dependencies_json, ordinal, created_at,"
        " updated_at, status, attempt, completed_at)"
        " VALUES (%s, %s, %s, 'task', '[]', 0, clock_timestamp(), now(), %s, 1, CASE WHEN %s THEN now() END)",
        (run_id, task_id, scope, status.value, status is TaskStatus.COMPLETED),
    )


def move(api: Api, run_id: str, status: RunStatus, error: str | None = None, result: str | None = None) -> None:
    api.sql(
        "UPDATE workflows SET status = %s, error_message = %s, result_json = %s WHERE workflow_id = %s",
        (status.value, error, result, run_id),
    )


def test_ready_while_work_is_done(api: Api) -> None:
    assert api.client.get("/healthz").get_json() == {"status": "ok"}
    answer = api.client.get("/readyz")
    assert answer.status_code == 200
    assert answer.get_json()["ready"] is True
    api.start()
    assert api.client.get("/readyz").status_code == 200
    api.sql("UPDATE task_queue SET created_at = created_at - interval '2 minutes'")
    stalled = api.client.get("/readyz")
    assert stalled.status_code == 503
    assert stalled.get_json()["database"] is True
    assert stalled.get_json()["work"] is False
    assert stalled.get_json()["oldest_claimable_seconds"] > 100
    api.sql("INSERT INTO workers (worker_id, service, host, pid) VALUES ('w', 'worker', 'h', 1)")
    assert api.client.get("/readyz").get_json()["live_workers"] == 1
    api.sql("UPDATE workers SET seen_at = seen_at - interval '2 minutes'")
    assert api.client.get("/readyz").status_code == 503


def test_a_stranger_hears_whether_it_is_ready_and_no_numbers(postgres_url: str) -> None:
    api = Api(postgres_url, Settings(api_host="0.0.0.0"))
    told = api.client.get("/readyz").get_json()
    assert told["ready"] is True
    assert (told["oldest_claimable_seconds"], told["live_workers"]) == (None, None)
    told = api.client.get("/readyz", headers=api.key(Scope.RUNS_READ)).get_json()
    assert told["live_workers"] == 0
    assert api.client.get("/healthz").get_json() == {"status": "ok"}
    api.sql("UPDATE alembic_version SET version_num = 'highway_9999'")
    assert api.client.get("/readyz").status_code == 503
    api.close()


@pytest.mark.parametrize(
    ("run", "tasks", "state", "current"),
    [
        (RunStatus.PENDING, {}, "pending", None),
        (RunStatus.RUNNING, {}, "running", None),
        (RunStatus.RUNNING, {"hello": TaskStatus.RUNNING, "again": TaskStatus.WAITING_FOR_EVENT}, "running", "hello"),
        (RunStatus.RUNNING, {"hello": TaskStatus.QUEUED}, "running", "hello"),
        (RunStatus.RUNNING, {"hello": TaskStatus.COMPLETED}, "running", None),
        (RunStatus.RUNNING, {"hello": TaskStatus.WAITING_FOR_TIMER}, "sleeping", "hello"),
        (RunStatus.RUNNING, {"hello": TaskStatus.WAITING_FOR_TIMER, "again": TaskStatus.WAITING_FOR_EVENT}, "waiting",
         "again"),
        (RunStatus.RUNNING, {"hello": TaskStatus.WAITING_FOR_CHILDREN, "again": TaskStatus.WAITING_FOR_TIMER},
         "sleeping", "again"),
        (RunStatus.RUNNING, {"hello": TaskStatus.WAITING_FOR_CHILDREN}, "waiting", "hello"),
        (RunStatus.PAUSED, {"hello": TaskStatus.QUEUED}, "waiting", None),
        (RunStatus.COMPLETED, {"hello": TaskStatus.COMPLETED}, "completed", None),
        (RunStatus.CANCELLED, {"hello": TaskStatus.CANCELLED}, "cancelled", None),
        (RunStatus.FAILED, {"hello": TaskStatus.FAILED}, "failed", None),
    ],
)  # fmt: skip
def test_the_words_of_the_published_clients_say_what_a_run_does(
    api: Api, run: RunStatus, tasks: dict[str, TaskStatus], state: str, current: str | None
) -> None:
    run_id = api.start()
    move(api, run_id, run)
    for task_id, status in tasks.items():
        task(api, run_id, task_id, status)
    data = api.client.get(f"/api/v1/workflows/{run_id}").get_json()["data"]
    assert (data["state"], data["status"], data["current_step"]) == (state, state, current)
    ended = sum(status in {TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.CANCELLED} for status in tasks.values())
    known = len(tasks) if state in {"completed", "failed", "cancelled"} else 2
    assert data["progress"] == {"completed": ended, "total": known}


def test_a_run_that_failed_at_its_deadline_timed_out(api: Api) -> None:
    run_id = api.start()
    move(api, run_id, RunStatus.FAILED, "The deadline of 1.5 s has passed.")
    data = api.client.get(f"/api/v1/workflows/{run_id}").get_json()["data"]
    assert (data["state"], data["error"]) == ("timed_out", "The deadline of 1.5 s has passed.")


def test_the_result_is_the_value_itself(api: Api) -> None:
    run_id = api.start()
    move(api, run_id, RunStatus.COMPLETED, None, '{"a": [1, null, "é"]}')
    value: dict[str, Any] = {"a": [1, None, "é"]}
    assert api.client.get(f"/api/v1/workflows/{run_id}").get_json()["data"]["result"] == value
    assert api.client.get(f"/workflow/status/{run_id}").get_json()["result"] == value


def test_tasks_are_paged_and_those_that_nobody_touched_come_last(api: Api) -> None:
    run_id = api.start()
    move(api, run_id, RunStatus.RUNNING)
    task(api, run_id, "hello", TaskStatus.WAITING_FOR_CHILDREN)
    for number in range(3):
        task(api, run_id, f"hello[{number}].again", TaskStatus.WAITING_FOR_EVENT, f"hello[{number}].")
    expected = ["hello", *(f"hello[{number}].again" for number in range(3)), "again"]
    for limit in (1, 2, 3, 4, 5, 100):
        seen: list[str] = []
        offset: int | None = 0
        while offset is not None:
            page = api.client.get(f"/workflow/status/{run_id}?task_limit={limit}&task_offset={offset}").get_json()
            assert len(page["tasks"]) <= limit
            seen += [one["task_id"] for one in page["tasks"]]
            offset = page["next_task_offset"]
        assert seen == expected, limit
    past = api.client.get(f"/workflow/status/{run_id}?task_offset=99").get_json()
    assert (past["tasks"], past["next_task_offset"]) == ([], None)
    assert past["summary"] == {
        TaskStatus.WAITING_FOR_CHILDREN: 1,
        TaskStatus.WAITING_FOR_EVENT: 3,
        TaskStatus.PENDING: 1,
    }
    assert past["waiting_for_input"] == [f"hello[{number}].again" for number in range(3)]


@pytest.mark.parametrize("path", ["/workflow/status/", "/api/v1/workflows/"])
def test_a_long_poll_answers_when_the_run_ends(api: Api, path: str) -> None:
    run_id = api.start()
    answers: list[tuple[Any, float]] = []

    def ask() -> None:
        answer = api.app.test_client().get(f"{path}{run_id}?wait=30").get_json()
        answers.append((answer, time.monotonic()))

    thread = threading.Thread(target=ask)
    thread.start()
    assert eventually(lambda: api.context.polls._waiter._waits)
    move(api, run_id, RunStatus.COMPLETED)
    ended = time.monotonic()
    api.sql("SELECT pg_notify(%s, %s)", (CHANNEL, run_id))
    thread.join(30)
    answer, at = answers[0]
    assert (answer.get("data") or answer)["state"] == "completed"
    assert at - ended < 5


def test_a_poll_that_finds_all_places_taken_is_answered_at_once(api: Api) -> None:
    run_id = api.start()
    clients = [api.app.test_client() for _ in range(3)]
    threads = [
        threading.Thread(target=lambda one=one: one.get(f"/workflow/status/{run_id}?wait=30")) for one in clients
    ]
    for thread in threads:
        thread.start()
    waiter = api.context.polls._waiter
    assert eventually(lambda: len(waiter._waits.get(run_id, ())) == 3)
    start = time.monotonic()
    assert api.client.get(f"/workflow/status/{run_id}?wait=30").get_json()["state"] == "pending"
    assert time.monotonic() - start < 10
    move(api, run_id, RunStatus.COMPLETED)
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()


@pytest.mark.parametrize("path", ["/workflow/status/{}?wait=30", "/api/v1/workflows/{}?wait=30"])
def test_a_poll_for_a_run_that_is_over_does_not_begin_to_wait(
    api: Api, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = api.start()
    move(api, run_id, RunStatus.COMPLETED)
    waited_for: list[str] = []
    monkeypatch.setattr(api.context.polls._waiter, "wait_for_end", lambda one, _seconds: waited_for.append(one))
    assert api.client.get(path.format(run_id)).get_json().get("state") != "pending"
    assert waited_for == []
    going_on = api.start()
    api.client.get(path.format(going_on))
    assert waited_for == [going_on]


@pytest.mark.parametrize("wait", ["-1", "61", "nan", "inf", "soon"])
def test_a_wait_that_is_none_is_refused(api: Api, wait: str) -> None:
    assert api.client.get(f"/workflow/status/x?wait={wait}").status_code == 400
