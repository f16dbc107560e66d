"""Decisions by who has a key: listed, looked at and taken through ``/api/v1/approvals``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from highway_core.config import Settings
from highway_core.lifecycle import RunStatus
from highway_core.persistence.api_keys import Scope
from tests.api_client import Api
from tests.approvals import KEY, MANAGER, PROMPT, Office


@dataclass
class Desk:
    api: Api
    office: Office


@pytest.fixture
def desk(postgres_url: str) -> Iterator[Desk]:
    api = Api(postgres_url, Settings(secret_key=KEY.decode()))
    try:
        yield Desk(api, Office(api.context.pool, postgres_url))
    finally:
        api.close()


def test_open_approvals_are_listed_and_no_token_with_them(desk: Desk) -> None:
    asked = desk.office.ask(seconds=None)
    decided = desk.office.ask(task_id="other")
    desk.office.store.decide(decided.approval_id, "APPROVED", by="a", via="api")
    answer = desk.api.client.get("/api/v1/approvals")
    assert answer.status_code == 200
    (one,) = answer.get_json()["data"]
    assert one.pop("created_at")
    assert one == {
        "key": asked.approval_id,
        "workflow_id": "run-1",
        "workflow_name": "expense_report_approval",
        "task_id": "request_manager_approval",
        "status": "PENDING",
        "prompt": PROMPT,
        "assignee": MANAGER,
        "choices": ["APPROVED", "DENIED"],
        "expires_at": None,
        "decision": None,
        "decided_at": None,
        "decided_by": None,
        "decided_via": None,
        "comment": None,
    }
    assert asked.token not in answer.text
    assert asked.token_hash not in answer.text


def test_the_list_has_pages_and_filters(desk: Desk) -> None:
    made = [desk.office.ask(f"run-{n % 2}", f"ask_{n}", assignee=f"m{n % 3}").approval_id for n in range(12)]
    seen: list[str] = []
    cursor = ""
    while True:
        page = desk.api.client.get(f"/api/v1/approvals?limit=5{cursor}").get_json()
        seen += [one["key"] for one in page["data"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert seen == made
    some = desk.api.client.get("/api/v1/approvals?workflow_id=run-1&assignee=m0").get_json()["data"]
    assert [one["task_id"] for one in some] == ["ask_3", "ask_9"]
    for query in ("cursor=junk", "cursor=WzEsMl0", "cursor=", "limit=0", "limit=1001", "limit=x", "sort=prompt"):
        assert desk.api.client.get(f"/api/v1/approvals?{query}").status_code == 400


@pytest.mark.parametrize(("verb", "decision"), [("approve", "APPROVED"), ("reject", "DENIED")])
def test_a_key_decides_and_its_name_is_kept(desk: Desk, verb: str, decision: str) -> None:
    asked = desk.office.ask()
    key = desk.api.key(Scope.APPROVALS_DECIDE)
    answer = desk.api.post(f"/api/v1/approvals/{asked.approval_id}/{verb}", {"comment": "so be it"}, key)
    assert answer.status_code == 200
    data = answer.get_json()["data"]
    assert (data["decision"], data["comment"], data["decided_via"]) == (decision, "so be it", "api")
    assert data["decided_by"].startswith("key:")
    assert desk.office.queued() == "QUEUED"
    shown = desk.api.client.get(f"/api/v1/approvals/{asked.approval_id}").get_json()["data"]
    assert shown == data


def test_the_second_decision_is_told_the_first(desk: Desk) -> None:
    asked = desk.office.ask()
    desk.api.post(f"/api/v1/approvals/{asked.approval_id}/approve")
    answer = desk.api.post(f"/api/v1/approvals/{asked.approval_id}/reject")
    assert (answer.status_code, answer.get_json()["code"]) == (409, "approval_decided")
    assert answer.get_json()["approval"]["decision"] == "APPROVED"


def test_what_is_late_or_over_is_gone(desk: Desk) -> None:
    late, over = desk.office.ask("run-1", seconds=-1), desk.office.ask("run-2")
    desk.office.end_run("run-2", RunStatus.FAILED)
    for asked, code in ((late, "approval_expired"), (over, "approval_run_over")):
        answer = desk.api.post(f"/api/v1/approvals/{asked.approval_id}/approve")
        assert (answer.status_code, answer.get_json()["code"]) == (410, code)


def test_an_approval_with_choices_of_its_own_is_decided_by_name(desk: Desk) -> None:
    asked = desk.office.ask(choices=("SHIP", "HOLD"))
    path = f"/api/v1/approvals/{asked.approval_id}"
    refused = desk.api.post(f"{path}/approve")
    assert (refused.status_code, refused.get_json()["code"]) == (400, "invalid_decision")
    assert refused.get_json()["approval"]["choices"] == ["SHIP", "HOLD"]
    assert desk.api.post(f"{path}/decide", {"decision": "HOLD"}).get_json()["data"]["decision"] == "HOLD"


def test_bad_bodies_change_nothing(desk: Desk) -> None:
    asked = desk.office.ask()
    path = f"/api/v1/approvals/{asked.approval_id}"
    for body in ({"comment": 5}, {"comment": "x" * 2001}, {"decision": "DENIED"}):
        assert desk.api.post(f"{path}/approve", body).status_code == 422
    assert desk.api.post(f"{path}/approve", []).status_code == 400
    assert desk.api.client.post(f"{path}/approve", data="comment=x").status_code == 415
    assert desk.api.post(f"{path}/decide", {}).status_code == 422
    assert desk.office.queued() == "WAITING_FOR_EVENT"


def test_an_unknown_key_of_an_approval_is_404(desk: Desk) -> None:
    assert desk.api.client.get("/api/v1/approvals/nobody").status_code == 404
    for verb in ("approve", "reject"):
        answer = desk.api.post(f"/api/v1/approvals/nobody/{verb}")
        assert (answer.status_code, answer.get_json()["code"]) == (404, "approval_not_found")


def test_a_key_without_the_scope_decides_nothing_and_a_token_is_no_key(desk: Desk) -> None:
    asked = desk.office.ask()
    path = f"/api/v1/approvals/{asked.approval_id}/approve"
    wrong = desk.api.key(Scope.RUNS_READ, Scope.RUNS_WRITE, Scope.APPROVALS_READ)
    assert desk.api.post(path, {}, wrong).status_code == 403
    assert desk.api.post(path, {}, {"Authorization": f"Bearer {asked.token}"}).status_code == 401
    assert desk.api.client.get("/api/v1/approvals", headers=desk.api.key(Scope.RUNS_READ)).status_code == 403
    assert desk.office.queued() == "WAITING_FOR_EVENT"


def test_beyond_this_machine_links_work_without_a_key_and_nothing_else_does(postgres_url: str) -> None:
    api = Api(postgres_url, Settings(secret_key=KEY.decode(), api_host="0.0.0.0"))
    try:
        asked = Office(api.context.pool, postgres_url).ask()
        assert api.client.get("/api/v1/approvals").status_code == 401
        assert api.post(f"/api/v1/approvals/{asked.approval_id}/approve").status_code == 401
        link = {"token": asked.token, "decision": "APPROVED"}
        answer = api.client.get("/workflow/resume", query_string=link, headers={"Accept": "application/json"})
        assert answer.status_code == 200
    finally:
        api.close()
