"""What the command line asks of the API, and what it makes of the answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from highway_core.cli.durable_clients.answers import TIMEOUT, UNREACHABLE, RefusedError, Request, json_of
from highway_core.cli.durable_clients.client import DurableClient, Start
from highway_core.cli.durable_clients.patience import PatientTransport
from highway_core.errors import DocumentError
from highway_core.services.loop import Backoff


class Answering:
    """A transport with its answers ready; keeps what was asked."""

    def __init__(self, *answers: Any, status: int = 200) -> None:
        self.asked: list[Request] = []
        self._answers = list(answers)
        self._status = status

    def send(self, request: Request) -> tuple[int, bytes]:
        self.asked.append(request)
        return self._status, json.dumps(self._answers.pop(0)).encode()

    def close(self) -> None:
        """Nothing to do."""


def test_a_start_sends_only_what_was_given() -> None:
    transport = Answering({"workflow_id": "r"})
    DurableClient(transport).start(Start(name="flow"))
    assert transport.asked == [Request("POST", "/workflow/start", {}, {"name": "flow"})]


def test_a_start_sends_all_that_was_given() -> None:
    transport = Answering({"workflow_id": "r"})
    document = {"name": "flow", "tasks": {}}
    wanted = Start(document=document, inputs={"a": 1}, run_id="r", key="k", priority=3, queue="slow")
    DurableClient(transport).start(wanted)
    body = {"document": document, "inputs": {"a": 1}, "workflow_id": "r", "priority": 3, "queue": "slow"}
    assert transport.asked == [Request("POST", "/workflow/start", {}, body, {"Idempotency-Key": "k"})]


@pytest.mark.parametrize(
    ("run_id", "path"),
    [("a/b", "a%2Fb"), ("../x", "..%2Fx"), ("a b?c#d", "a%20b%3Fc%23d"), ("ü", "%C3%BC")],
)
def test_an_id_stays_one_part_of_the_path(run_id: str, path: str) -> None:
    transport = Answering({}, {})
    client = DurableClient(transport)
    client.status(run_id)
    client.tell(run_id, "pause")
    assert [one.path for one in transport.asked] == [f"/workflow/status/{path}", f"/workflow/pause/{path}"]


def test_a_token_travels_in_the_body_and_in_no_address() -> None:
    transport = Answering({})
    DurableClient(transport).decide_by_token("secret&token", "APPROVED", "fine")
    (asked,) = transport.asked
    assert "secret" not in asked.path
    assert not asked.query
    assert asked.body == {"token": "secret&token", "decision": "APPROVED", "comment": "fine"}


def test_a_long_list_of_runs_is_fetched_in_pages() -> None:
    first = {"workflows": [{"n": number} for number in range(500)], "next_cursor": "c1"}
    transport = Answering(first, {"workflows": [{"n": 500}], "next_cursor": "c2"})
    found = DurableClient(transport).runs(501, status="failed", name=None)
    assert [one["n"] for one in found] == list(range(501))
    assert [(one.query["limit"], one.query.get("cursor")) for one in transport.asked] == [("500", None), ("1", "c1")]
    assert all(one.query["status"] == "failed" and "name" not in one.query for one in transport.asked)


def test_a_long_list_of_approvals_is_fetched_in_pages() -> None:
    first = {"data": [{"n": number} for number in range(500)], "next_cursor": "c1"}
    transport = Answering(first, {"data": [{"n": 500}], "next_cursor": None})
    assert [one["n"] for one in DurableClient(transport).approvals(2_000)] == list(range(501))
    assert [(one.query["limit"], one.query.get("cursor")) for one in transport.asked] == [("500", None), ("500", "c1")]


def test_a_history_is_read_to_its_end() -> None:
    transport = Answering({"events": [{"seq": 1}], "next_after": 1}, {"events": [{"seq": 2}], "next_after": None})
    assert [event["seq"] for event in DurableClient(transport).history("r")] == [1, 2]
    assert [one.query["after"] for one in transport.asked] == ["0", "1"]


def test_waiting_for_an_end_gives_the_answer_more_time() -> None:
    transport = Answering({})
    DurableClient(transport).status("r", wait=30)
    (asked,) = transport.asked
    assert (asked.query["wait"], asked.patience) == ("30", 30)


def test_a_problem_is_told_in_its_own_words() -> None:
    body = json.dumps({"code": "wrong_state", "title": "Not now", "detail": "Run 'r' is over: completed."}).encode()
    with pytest.raises(RefusedError, match=r"^Run 'r' is over: completed\.$") as refused:
        json_of(409, body)
    assert (refused.value.status, refused.value.code) == (409, "wrong_state")


def test_a_taken_key_names_the_run_that_has_it() -> None:
    body = json.dumps({"code": "run_conflict", "detail": "The key is taken.", "existing_run_id": "r7"}).encode()
    with pytest.raises(RefusedError, match=r"^The key is taken\. It is run 'r7'\.$"):
        json_of(409, body)


def test_every_problem_of_a_document_is_told() -> None:
    problems = [{"place": "tasks.a", "message": "no function", "hint": "", "position": "f:1:2"}, {"message": "no name"}]
    with pytest.raises(DocumentError) as refused:
        json_of(422, json.dumps({"code": "invalid_document", "problems": problems}).encode())
    assert [str(problem) for problem in refused.value.problems] == ["f:1:2 tasks.a: no function", "no name"]


@pytest.mark.parametrize("body", [b"<html>", b"", b"\xff", b"[" * 100_000])
def test_an_answer_that_is_not_json_is_not_taken_for_one(body: bytes) -> None:
    with pytest.raises(RefusedError, match=r"HTTP 200.* not Highway's"):
        json_of(200, body)


@pytest.mark.parametrize("body", [b"[]", b'"no"', b'{"problems": [3]}', b"{}"])
def test_a_problem_of_an_unknown_shape_is_still_a_refusal(body: bytes) -> None:
    with pytest.raises(RefusedError, match="HTTP 500"):
        json_of(500, body)


class Flickering:
    """A transport that fails as often as it is told to, then answers."""

    def __init__(self, *failures: Exception) -> None:
        self._failures = list(failures)

    def send(self, _request: Request) -> tuple[int, bytes]:
        if self._failures:
            raise self._failures.pop(0)
        return 200, b"{}"

    def close(self) -> None:
        """Nothing to do."""


def test_who_is_patient_asks_until_somebody_answers_and_says_so_once() -> None:
    said: list[str] = []
    away = [RefusedError(0, UNREACHABLE, "Nobody is there."), RefusedError(0, TIMEOUT, "Nobody answers.")]
    patient = PatientTransport(Flickering(*away), said.append, Backoff(0, 0))
    assert patient.send(Request("GET", "/workflows", {})) == (200, b"{}")
    assert said == [
        "The run goes on, but cannot be seen: Nobody is there. Asking again …",
        "The run can be seen again.",
    ]


def test_patience_ends_where_somebody_answers_and_says_no() -> None:
    said: list[str] = []
    answering = Answering({"code": "run_not_found", "detail": "There is no run 'r'."}, status=404)
    with pytest.raises(RefusedError, match="There is no run"):
        DurableClient(answering).patient(said.append).status("r")
    assert said == []
