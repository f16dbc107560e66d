"""``tools.webhook.post``: the URL is really called, again when it fails, no faster than allowed, and signed."""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
from collections.abc import Iterator
from itertools import count

import pytest

from highway_core.errors import TaskStoppedError
from highway_core.tools import webhook
from highway_core.utils.stopping import StopScope
from tests.hostile_server import Received, Server, reply, running_server
from tests.tool_context import context_with, inside, settings_with


class PatientScope(StopScope):
    """Notes how long it was asked to wait, and does not."""

    def __init__(self, stopped_at: int | None = None) -> None:
        super().__init__()
        self.waits: list[float] = []
        self._stopped_at = stopped_at

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        if len(self.waits) == self._stopped_at:
            self.stop("cancelled")
        return self.stopped


@pytest.fixture
def scope() -> PatientScope:
    return PatientScope()


@pytest.fixture
def server(scope: PatientScope) -> Iterator[Server]:
    with running_server() as running, inside(context_with(stop=scope)):
        yield running


def failing_first(server: Server, failures: int, status: str = "503 Busy") -> str:
    calls = count(1)

    def handler(request: Received, connection: socket.socket) -> None:
        refused = next(calls) <= failures
        reply(b"later" if refused else b"", status=status if refused else "204 No Content")(request, connection)

    return server.on("/hook", handler)


def test_the_url_is_called_and_the_result_tells_what_was_sent(server: Server) -> None:
    url = server.answers("/hook")
    payload = {"text": "grüße", "n": 1}
    assert webhook.post("ship", "on_completed", url, {"X-Team": "a"}, payload) == {
        "success": True,
        "message": "Webhook for task 'ship' (on_completed) delivered.",
        "task": "ship",
        "trigger": "on_completed",
        "url": url,
        "method": "POST",
        "headers": {"X-Team": "a"},
        "payload": payload,
    }
    sent = server.received[0]
    assert (sent.method, json.loads(sent.body)) == ("POST", payload)
    expected = {"content-type": "application/json", "x-team": "a", "x-highway-event": "on_completed"}
    assert expected.items() <= sent.headers.items()
    assert (sent.headers["x-highway-task"], sent.headers["x-highway-delivery"]) == ("ship", "key-1")
    assert "x-highway-signature" not in sent.headers


def test_without_a_payload_the_receiver_learns_what_happened(server: Server) -> None:
    webhook.post("ship", "on_failed", server.answers("/hook"))
    body = json.loads(server.received[0].body)
    assert {**body, "timestamp": ""} == {
        "event": "on_failed",
        "task_id": "ship",
        "workflow_id": "run-1",
        "timestamp": "",
    }
    assert body["timestamp"].endswith("+00:00")


def test_a_receiver_that_fails_is_asked_again_after_growing_waits(server: Server, scope: PatientScope) -> None:
    assert webhook.post("ship", "on_start", failing_first(server, 3), rate_limit_requests=100)["success"]
    assert len(server.received) == 4
    assert [wait // 1 for wait in scope.waits] == [1, 2, 4]
    assert len({sent.headers["x-highway-delivery"] for sent in server.received}) == 1


@pytest.mark.parametrize("status", ["500 Broken", "404 Not Found", "302 Found"])
def test_when_the_retries_are_used_up_the_last_answer_is_told(server: Server, status: str) -> None:
    result = webhook.post("ship", "on_start", failing_first(server, 99, status), max_retries=2, rate_limit_requests=100)
    assert (result["success"], set(result), len(server.received)) == (False, {"success", "error"}, 3)
    assert "not delivered in 3 attempts" in result["error"]
    assert status in result["error"]


def test_nobody_there_is_told_and_is_no_failure_of_the_task() -> None:
    with inside(context_with(stop=PatientScope())):
        result = webhook.post("ship", "on_start", "http://127.0.0.1:9/?key=s3cret", max_retries=1)
    assert result["success"] is False
    assert "connection refused" in result["error"]
    assert "s3cret" not in result["error"]


def test_waiting_for_a_retry_ends_when_the_attempt_is_stopped(server: Server) -> None:
    with inside(context_with(stop=PatientScope(stopped_at=2))), pytest.raises(TaskStoppedError, match="cancelled"):
        webhook.post("ship", "on_start", failing_first(server, 99), rate_limit_requests=100)
    assert len(server.received) == 2


def test_no_more_requests_go_to_a_host_than_allowed(server: Server) -> None:
    scope = PatientScope(stopped_at=1)
    with inside(context_with(stop=scope)):
        for _ in range(2):
            url = server.answers("/hook")
            assert webhook.post("ship", "on_start", url, rate_limit_requests=2, rate_limit_window=30)["success"]
        assert scope.waits == []
        with pytest.raises(TaskStoppedError):
            webhook.post("ship", "on_start", server.url("/other"), rate_limit_requests=2, rate_limit_window=30)
    assert 25 < scope.waits[0] <= 30
    assert len(server.received) == 2


def test_waiting_for_ones_turn_uses_up_no_retry(server: Server) -> None:
    url = server.answers("/hook")
    for _ in range(3):
        result = webhook.post("ship", "on_start", url, max_retries=0, rate_limit_requests=1, rate_limit_window=0.01)
        assert result["success"]


def test_a_body_is_signed_with_its_time_under_the_secret(server: Server) -> None:
    settings = settings_with(environ={"HIGHWAY_SECRET_WEBHOOK_SIGNING_KEY": "s3cret"})
    with inside(context_with(settings)):
        result = webhook.post("ship", "on_start", server.answers("/hook"), payload={"a": "é"})
    sent = server.received[0]
    moment, _, digest = sent.headers["x-highway-signature"].partition(",v1=")
    signed = moment.removeprefix("t=").encode() + b"." + sent.body
    assert digest == hmac.new(b"s3cret", signed, hashlib.sha256).hexdigest()
    assert "X-Highway-Signature" not in result["headers"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"trigger_on": "on_success"}, "trigger_on must be one of on_start, on_completed, on_failed"),
        ({"url": "ftp://x/"}, "only http:// and https://"),
        ({"url": None}, "only http:// and https://"),
        ({"max_retries": -1}, "max_retries"),
        ({"rate_limit_requests": 0}, "rate_limit_requests"),
        ({"rate_limit_window": 0}, "rate_limit_window"),
        ({"payload": {"a": {1}}}, "not JSON serializable"),
        ({"payload": {"a": float("nan")}}, "not JSON compliant"),
        ({"payload": 7}, "not iterable"),
    ],
)
def test_a_hook_that_makes_no_sense_is_not_sent(
    server: Server, scope: PatientScope, changes: dict[str, object], reason: str
) -> None:
    arguments = {"task_name": "ship", "trigger_on": "on_start", "url": server.url("/hook")} | changes
    result = webhook.post(**arguments)  # type: ignore[arg-type]
    assert result["success"] is False
    assert reason in result["error"]
    assert (server.received, scope.waits) == ([], [])
