"""Runs over HTTP: started, read, listed, told what to do."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from highway_core.config import Settings
from highway_core.engine.durable.operations import StartRequest
from highway_core.lifecycle import RunStatus, TaskStatus
from tests.api_client import DOCUMENT, Api, folder_with


@pytest.fixture
def api(postgres_url: str) -> Iterator[Api]:
    api = Api(postgres_url)
    yield api
    api.close()


def test_a_started_workflow_is_pending_and_its_tasks_can_be_seen(api: Api) -> None:
    answer = api.post("/workflow/start", {"document": DOCUMENT, "inputs": {"who": "you"}})
    assert answer.status_code == 202
    started = answer.get_json()
    assert started["status"] == RunStatus.PENDING
    assert started["total_tasks"] == 2
    assert started["created"] is True
    status = api.client.get(f"/workflow/status/{started['workflow_id']}").get_json()
    assert status["workflow_status"] == RunStatus.PENDING
    assert [(task["task_id"], task["status"], task["error"]) for task in status["tasks"]] == [
        ("hello", TaskStatus.PENDING, None),
        ("again", TaskStatus.PENDING, None),
    ]
    assert status["summary"] == {TaskStatus.PENDING: 2}
    assert status["state"] == "pending"
    assert api.runs.asked[0].created_by == "local:127.0.0.1"
    assert api.runs.asked[0].inputs == {"who": "you"}


def test_a_run_whose_document_names_an_input_without_a_namespace_can_be_seen(api: Api) -> None:
    tasks = {"hello": {"operator_type": "task", "function": "tools.log.info", "args": ["{{who}} and {{inputs.who}}"]}}
    body = {"document": {"name": "bare", "tasks": tasks}, "inputs": {"who": "you"}}
    run_id = api.post("/workflow/start", body).get_json()["workflow_id"]
    status = api.client.get(f"/workflow/status/{run_id}")
    assert status.status_code == 200, status.text
    assert [task["status"] for task in status.get_json()["tasks"]] == [TaskStatus.PENDING]
    assert api.client.get(f"/api/v1/workflows/{run_id}").status_code == 200


def test_a_document_may_be_sent_as_yaml_text_and_its_problems_say_where_they_are(api: Api) -> None:
    good = "name: text\ntasks:\n  a: {operator_type: task, function: tools.log.info, args: [hi]}\n"
    assert api.post("/workflow/start", {"document": good}).status_code == 202
    bad = good.replace("tools.log.info", "tools.log.nothing") + "  b: {operator_type: wait}\n"
    answer = api.post("/workflow/start", {"document": bad})
    assert answer.status_code == 422
    problem = answer.get_json()
    assert problem["code"] == "invalid_document"
    assert len(problem["problems"]) == 2
    assert {one["place"].split(".")[1] for one in problem["problems"]} == {"a", "b"}
    assert all(one["position"].startswith("document:") for one in problem["problems"])
    assert api.sql("SELECT count(*) FROM workflows") == [(1,)]


@pytest.mark.parametrize("as_text", [False, True])
def test_all_that_is_wrong_with_a_document_is_told_in_one_answer(api: Api, as_text: bool) -> None:
    tasks = {
        "tool": {"operator_type": "task", "function": "tools.log.nothing"},
        "kind": {"operator_type": "tusk"},
        "field": {"operator_type": "wait"},
        "names": {"operator_type": "task", "function": "tools.log.info", "args": ["{{nobody}}"], "dependencies": ["x"]},
    }
    document = {"version": 2, "nmae": "all", "tasks": tasks}
    answer = api.post("/workflow/start", {"document": json.dumps(document) if as_text else document})
    assert answer.status_code == 422
    told = answer.get_json()
    assert {one["place"] for one in told["problems"]} == {
        "",
        "version",
        "nmae",
        "tasks.tool.function",
        "tasks.kind.operator_type",
        "tasks.field",
        "tasks.names.args[0]",
        "tasks.names.dependencies",
    }
    assert all(one["position"].startswith("document:") == as_text for one in told["problems"])
    assert all(one["message"] in told["detail"] for one in told["problems"])


@pytest.mark.parametrize("headers", ["Idempotency-Key", "X-Idempotency-Key"])
def test_the_same_key_and_payload_is_the_same_run_and_another_payload_is_a_conflict(api: Api, headers: str) -> None:
    key = {headers: "order-1"}
    first = api.post("/workflow/start", {"document": DOCUMENT}, key).get_json()
    second = api.post("/workflow/start", {"document": DOCUMENT}, key)
    assert second.status_code == 202
    assert second.get_json()["workflow_id"] == first["workflow_id"]
    assert second.get_json()["created"] is False
    other = api.post("/workflow/start", {"document": DOCUMENT, "inputs": {"n": 1}}, key)
    assert other.status_code == 409
    assert other.get_json()["existing_run_id"] == first["workflow_id"]
    assert other.get_json()["code"] == "run_conflict"
    wire = api.post("/api/v1/workflows", {"workflow_definition": DOCUMENT, "inputs": {"n": 1}}, key)
    assert wire.status_code == 409
    assert wire.get_json()["existing_run_id"] == first["workflow_id"]


@pytest.mark.parametrize("key", ["", "x" * 301, "tab\there"])
def test_an_idempotency_key_that_cannot_be_one_is_refused(api: Api, key: str) -> None:
    answer = api.post("/workflow/start", {"document": DOCUMENT}, {"Idempotency-Key": key})
    assert (answer.status_code, answer.get_json()["code"]) == (400, "invalid_idempotency_key")
    both = {"Idempotency-Key": "a", "X-Idempotency-Key": "b"}
    assert api.post("/workflow/start", {"document": DOCUMENT}, both).status_code == 400
    assert api.runs.asked == []


def test_a_workflow_is_started_by_the_name_of_its_file_by_its_own_name_and_again_by_its_stored_name(
    postgres_url: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    text = "name: inner_name\ntasks:\n  a: {operator_type: task, function: tools.log.info, args: [hi]}\n"
    folder = folder_with(tmp_path_factory.mktemp("documents"), outer_name__yaml=text)
    api = Api(postgres_url, Settings(workflows_dir=folder))
    for name in ("outer_name", "inner_name"):
        answer = api.post(f"/workflow/start/{name}")
        assert answer.status_code == 202, name
        assert answer.get_json()["workflow_name"] == "inner_name"
        assert api.post("/workflow/start", {"name": name}).status_code == 202
    api.start()
    assert api.post("/workflow/start/greeting", {"inputs": {"a": 1}}).status_code == 202
    assert api.runs.asked[-1].workflow.model.name == "greeting"
    unknown = api.post("/workflow/start/outer_nam")
    assert unknown.status_code == 404
    assert unknown.get_json()["code"] == "workflow_not_found"
    assert "did you mean 'outer_name'?" in unknown.get_json()["detail"]
    api.close()


def test_a_key_that_belongs_to_a_run_with_another_id_is_a_conflict(api: Api) -> None:
    first = {"document": DOCUMENT, "workflow_id": "first"}
    assert api.post("/workflow/start", first, headers={"Idempotency-Key": "k"}).get_json()["created"] is True
    assert api.post("/workflow/start", first, headers={"Idempotency-Key": "k"}).get_json()["created"] is False
    other = api.post("/workflow/start", first | {"workflow_id": "second"}, headers={"Idempotency-Key": "k"})
    assert (other.status_code, other.get_json()["code"]) == (409, "run_conflict")
    assert other.get_json()["existing_run_id"] == "first"
    assert api.client.get("/workflow/status/second").status_code == 404


def test_a_start_names_a_document_or_a_name_but_not_both(api: Api) -> None:
    for body in ({}, {"name": "greeting", "document": DOCUMENT}):
        assert api.post("/workflow/start", body).status_code == 422


def test_an_unknown_run_is_not_found_whatever_is_asked_of_it(api: Api) -> None:
    for path in ("/workflow/status/nobody", "/workflow/history/nobody", "/api/v1/workflows/nobody"):
        answer = api.client.get(path)
        assert (answer.status_code, answer.get_json()["error"]) == (404, "Workflow not found"), path
    for verb in ("cancel", "pause", "unpause", "retry"):
        assert api.post(f"/workflow/{verb}/nobody").status_code == 404, verb
    assert api.post("/api/v1/workflows/nobody/cancel").status_code == 404


def test_a_run_is_told_what_to_do_and_by_whom(api: Api) -> None:
    run_id = api.start(workflow_id="order-7")
    assert run_id == "order-7"
    assert api.post(f"/workflow/pause/{run_id}").get_json()["status"] == RunStatus.PAUSED
    assert api.post(f"/workflow/unpause/{run_id}").get_json()["status"] == RunStatus.RUNNING
    cancelled = api.post(f"/workflow/cancel/{run_id}", {"reason": "no longer wanted"})
    assert cancelled.get_json()["status"] == RunStatus.CANCELLED
    again = api.post(f"/workflow/cancel/{run_id}")
    assert (again.status_code, again.get_json()["code"]) == (409, "wrong_state")
    assert api.post(f"/api/v1/workflows/{run_id}/cancel").status_code == 409
    assert api.post(f"/workflow/retry/{run_id}").get_json()["status"] == RunStatus.RUNNING
    assert api.post(f"/workflow/items/{run_id}/every", {"items": [1, 2]}).get_json()["code"] == "wrong_state"
    by = "local:127.0.0.1"
    assert [one for one in api.runs.told if one[0] != "cancel"] == [
        ("pause", run_id, by),
        ("unpause", run_id, by),
        ("retry", run_id, by),
        ("add_items", run_id, "every", [1, 2], by),
    ]
    assert api.runs.told[2] == ("cancel", run_id, by, "no longer wanted")


def test_lists_are_filtered_and_paged_without_repeating_or_losing_a_run(api: Api) -> None:
    ids = [api.start() for _ in range(7)]
    api.sql("UPDATE workflows SET start_time = '2026-01-01T00:00:00Z' WHERE workflow_id = ANY (%s)", (ids[:4],))
    api.post(f"/workflow/cancel/{ids[2]}")
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = api.client.get(f"/workflows?limit=2{f'&cursor={cursor}' if cursor else ''}").get_json()
        seen += [run["workflow_id"] for run in page["workflows"]]
        assert page["total_count"] is None
        cursor = page["next_cursor"]
    assert seen == [*reversed(ids[4:]), *sorted(ids[:4])]
    cancelled = api.client.get("/workflows?status=cancelled").get_json()
    assert [run["workflow_id"] for run in cancelled["workflows"]] == [ids[2]]
    assert cancelled["total_count"] == 1
    assert api.client.get("/workflows?status=Cancelled").get_json() == cancelled
    assert api.client.get("/workflows?status=pending").get_json()["total_count"] == 6
    assert api.client.get("/workflows?name=nothing").get_json()["workflows"] == []
    api.sql("UPDATE workflows SET parent_workflow_id = %s WHERE workflow_id = ANY (%s)", (ids[0], ids[5:]))
    children = api.client.get(f"/workflows?parent={ids[0]}").get_json()["workflows"]
    assert [run["workflow_id"] for run in children] == [ids[6], ids[5]]
    api.sql("""UPDATE workflows SET tags_json = '["night", "bank"]' WHERE workflow_id = %s""", (ids[3],))
    (tagged,) = api.client.get("/workflows?tag=bank").get_json()["workflows"]
    assert (tagged["workflow_id"], tagged["tags"]) == (ids[3], ["night", "bank"])
    assert api.client.get("/workflows?tag=ban").get_json()["workflows"] == []
    assert api.client.get("/workflows?since=2026-06-01T00:00:00").get_json()["total_count"] == 3
    assert api.client.get("/workflows?name=greeting&since=2025-06-01T00:00:00Z").get_json()["total_count"] == 7


@pytest.mark.parametrize(
    "query",
    [
        "status=COMPLETED'%20OR%201=1", "limit=0", "limit=501", "limit=x", "cursor=!!", "cursor=W10", "cursor=eyJ9",
        "since=yesterday", "sort=name", "limit=1&limit=2", "cursor=WyIwMDAxLTAxLTAxVDAwOjAwOjAwKzIzOjU5IiwgIngiXQ",
    ],
)  # fmt: skip
def test_a_list_refuses_parameters_that_it_cannot_use(api: Api, query: str) -> None:
    answer = api.client.get(f"/workflows?{query}")
    assert answer.status_code == 400
    assert answer.get_json()["code"] in {"invalid_query", "invalid_cursor"}


def test_history_is_paged_by_number(api: Api) -> None:
    run_id = api.start()
    api.sql(
        "INSERT INTO event_log (workflow_id, seq, at, kind, task_id)"
        " SELECT %s, n, clock_timestamp(), 'task.' || n, 't' FROM generate_series(2, 6) AS n",
        (run_id,),
    )
    first = api.client.get(f"/workflow/history/{run_id}?limit=4").get_json()
    assert [one["seq"] for one in first["events"]] == [1, 2, 3, 4]
    assert first["events"][0]["kind"] == f"run.{RunStatus.PENDING}"
    last = api.client.get(f"/workflow/history/{run_id}?after={first['next_after']}").get_json()
    assert [one["seq"] for one in last["events"]] == [5, 6]
    assert last["next_after"] is None


def test_an_event_is_stored_and_delivered_to_who_waits(api: Api) -> None:
    run_id = api.start()
    api.sql(
        "INSERT INTO task_queue (workflow_id, task_id, kind, status, event_name) VALUES (%s, 'w', 'event', %s, 'paid')",
        (run_id, TaskStatus.WAITING_FOR_EVENT.value),
    )
    answer = api.post("/workflow/events/paid", {"payload": {"amount": 3}})
    assert answer.status_code == 202
    assert answer.get_json()["delivered"] == 1
    assert api.sql("SELECT name, payload_json, created_by FROM events") == [("paid", '{"amount":3}', "local:127.0.0.1")]
    assert api.post("/workflow/events/paid").get_json()["delivered"] == 0


def test_a_run_whose_id_has_slashes_as_those_of_child_runs_have_can_be_reached(api: Api) -> None:
    run_id = "parent/accounts/mail"
    api.context.runs.start(StartRequest(api.context.workflows.given(DOCUMENT, ()), run_id=run_id))
    for path in (run_id, run_id.replace("/", "%2F")):
        assert api.client.get(f"/workflow/status/{path}").get_json()["workflow_id"] == run_id
        assert api.client.get(f"/workflow/history/{path}").status_code == 200
        assert api.client.get(f"/api/v1/workflows/{path}").status_code == 200
    assert api.post(f"/api/v1/workflows/{run_id}/cancel").status_code == 200
    assert api.post(f"/workflow/cancel/{run_id}").status_code == 409
    assert api.post("/workflow/events/orders/paid", {"payload": 1}).status_code in {200, 202}
