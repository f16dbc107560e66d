"""The webhook runner: sends what is stored, at least once, not faster than allowed, and gives up in the end."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from highway_core.errors import StorageError
from highway_core.persistence.database import DatabaseManager, get_db_manager
from highway_core.persistence.models import Webhook
from highway_core.persistence.webhook_status import WebhookStatus
from highway_core.services import webhook_runner
from highway_core.services.webhook_runner import WebhookRunner
from tests.hostile_server import Received, Server, running_server
from tests.tool_context import settings_with


@pytest.fixture
def server() -> Iterator[Server]:
    with running_server() as running:
        yield running


@pytest.fixture
def database(tmp_path: Path) -> Iterator[DatabaseManager]:
    manager = get_db_manager(tmp_path / "runs.sqlite3")
    yield manager
    manager.close_all_connections()


def add(database: DatabaseManager, url: str, number: int = 1, **changes: Any) -> None:
    assert database.create_webhook(f"task-{number}", f"x-{number}", "run", url, **changes)


def one(database: DatabaseManager) -> dict[str, Any]:
    (row,) = database.get_webhooks_by_workflow("run")
    return row


def make_due(database: DatabaseManager) -> None:
    """Turn the clock past every retry."""
    with database.session_scope() as session:
        session.execute(update(Webhook).values(next_retry_at=None))


def run_pass(runner: WebhookRunner) -> dict[WebhookStatus, int]:
    return dict(asyncio.run(runner.run_once()))


def test_the_options_of_the_existing_library_are_kept(database: DatabaseManager) -> None:
    plain = WebhookRunner(db_manager=database)
    assert (plain.batch_size, plain.concurrency, plain.rate_limit_per_second) == (100, 10, 10)
    assert plain.db_manager is database


def test_a_webhook_is_sent_as_json_with_its_headers_and_recorded(server: Server, database: DatabaseManager) -> None:
    url = server.answers("/hook", b"thanks", headers="X-Reply: 1\r\n")
    add(database, url, headers={"X-Team": "a"}, payload={"text": "grüße"}, webhook_type="on_completed")

    assert run_pass(WebhookRunner(db_manager=database)) == {WebhookStatus.SENT: 1}
    (sent,) = server.received
    assert (sent.method, json.loads(sent.body)) == ("POST", {"text": "grüße"})
    row = one(database)
    expected = {
        "content-type": "application/json",
        "x-team": "a",
        "x-highway-event": "on_completed",
        "x-highway-task": "task-1",
        "x-highway-delivery": row["delivery_id"],
    }
    assert expected.items() <= sent.headers.items()
    assert "x-highway-signature" not in sent.headers
    assert (row["status"], row["response_status"], row["response_body"]) == ("sent", 200, "thanks")
    assert run_pass(WebhookRunner(db_manager=database)) == {}


def test_a_signing_key_signs_the_body(
    server: Server, database: DatabaseManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_with(environ={"HIGHWAY_SECRET_WEBHOOK_SIGNING_KEY": "key"})
    monkeypatch.setattr(webhook_runner, "current_settings", lambda: settings)
    add(database, server.answers("/hook"), payload={"n": 1})
    run_pass(WebhookRunner(db_manager=database))

    (sent,) = server.received
    moment, _, digest = sent.headers["x-highway-signature"].partition(",v1=")
    signed = moment.removeprefix("t=").encode() + b"." + sent.body
    assert digest == hmac.new(b"key", signed, hashlib.sha256).hexdigest()


def test_a_refusal_is_retried_until_the_retries_are_used_up(server: Server, database: DatabaseManager) -> None:
    add(database, server.answers("/hook", b"later", status="503 Busy"), max_retries=2)
    runner = WebhookRunner(db_manager=database)

    for retries in (1, 2):
        assert run_pass(runner) == {WebhookStatus.RETRY_SCHEDULED: 1}
        assert (one(database)["status"], one(database)["retry_count"]) == ("retry_scheduled", retries)
        assert run_pass(runner) == {}  # its time has not come
        make_due(database)
    assert run_pass(runner) == {WebhookStatus.FAILED: 1}
    row = one(database)
    assert (row["status"], row["response_status"], row["response_body"]) == ("failed", 503, "later")
    assert len({sent.headers["x-highway-delivery"] for sent in server.received}) == 1
    assert len(server.received) == 3


def test_a_redirect_is_no_delivery(server: Server, database: DatabaseManager) -> None:
    add(database, server.answers("/hook", status="302 Found", headers="Location: /elsewhere\r\n"), max_retries=0)

    assert run_pass(WebhookRunner(db_manager=database)) == {WebhookStatus.FAILED: 1}
    assert [sent.path for sent in server.received] == ["/hook"]


def test_a_receiver_that_is_not_there_leaves_the_reason(database: DatabaseManager) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    add(database, f"http://user:secret@127.0.0.1:{port}/hook?key=1", max_retries=0)

    assert run_pass(WebhookRunner(db_manager=database)) == {WebhookStatus.FAILED: 1}
    row = one(database)
    assert row["response_status"] == 0
    assert row["response_body"].startswith(f"POST http://127.0.0.1:{port}/hook?…: ")


def test_a_host_gets_no_more_than_it_may_and_waiting_is_no_attempt(server: Server, database: DatabaseManager) -> None:
    url = server.answers("/hook")
    for number in range(5):
        add(database, url, number)
    runner = WebhookRunner(rate_limit_per_second=2, db_manager=database)

    assert run_pass(runner) == {WebhookStatus.SENT: 2, WebhookStatus.RETRY_SCHEDULED: 3}
    assert len(server.received) == 2
    put_off = database.get_webhooks_by_status([WebhookStatus.RETRY_SCHEDULED])
    assert [row["retry_count"] for row in put_off] == [0, 0, 0]


def test_a_webhook_with_a_limit_of_its_own_keeps_it(server: Server, database: DatabaseManager) -> None:
    url = server.answers("/hook")
    for number in range(3):
        add(database, url, number, rate_limit_requests=1, rate_limit_window=3_600)

    assert run_pass(WebhookRunner(db_manager=database))[WebhookStatus.SENT] == 1
    make_due(database)
    assert run_pass(WebhookRunner(db_manager=database))[WebhookStatus.SENT] == 1  # another process knows nothing of it


def test_a_pass_takes_a_batch_and_sends_as_many_at_a_time_as_it_may(server: Server, database: DatabaseManager) -> None:
    gate, arrived = threading.Event(), threading.Semaphore(0)

    def hold(_: Received, connection: socket.socket) -> None:
        arrived.release()
        gate.wait(30)
        connection.sendall(b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    url = server.on("/hook", hold)
    for number in range(6):
        add(database, url, number)
    runner = WebhookRunner(batch_size=4, concurrency=3, db_manager=database)
    passing = threading.Thread(target=run_pass, args=[runner])
    passing.start()
    for _ in range(3):
        assert arrived.acquire(timeout=30)
    assert not arrived.acquire(blocking=False)
    gate.set()
    passing.join(30)

    assert len(server.received) == 4
    assert len(database.get_webhooks_by_status([WebhookStatus.SENT])) == 4
    assert len(database.get_webhooks_by_status([WebhookStatus.PENDING])) == 2


def test_two_runners_never_send_the_same_webhook(server: Server, database: DatabaseManager) -> None:
    url = server.answers("/hook")
    for number in range(40):
        add(database, url, number, rate_limit_requests=1_000)
    runners = [WebhookRunner(10, 4, 1_000, DatabaseManager(engine_url=database.engine_url)) for _ in range(2)]

    def work(runner: WebhookRunner) -> None:
        while run_pass(runner):
            pass

    threads = [threading.Thread(target=work, args=[runner]) for runner in runners]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(sent.headers["x-highway-task"] for sent in server.received) == sorted(
        f"task-{number}" for number in range(40)
    )


def test_run_goes_on_until_it_is_stopped_and_survives_a_database_that_is_away(
    server: Server, database: DatabaseManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook_runner, "_AFTER_FAILURE", 0.01)
    monkeypatch.setattr(webhook_runner, "_POLL", 0.01)
    runner = WebhookRunner(db_manager=database)
    claim, troubles = database.claim_ready_webhooks, iter([True, True])

    def sometimes(limit: int, lease_seconds: float) -> list[dict[str, Any]]:
        if next(troubles, False):
            raise StorageError("the database is away")
        rows = claim(limit, lease_seconds)
        if not rows and server.received:
            runner.stop()
        return rows

    monkeypatch.setattr(database, "claim_ready_webhooks", sometimes)
    add(database, server.answers("/hook"))
    asyncio.run(asyncio.wait_for(runner.run(), 30))

    assert one(database)["status"] == "sent"
    assert next(troubles, None) is None


def test_counts_tell_how_many_have_which_status(server: Server, database: DatabaseManager) -> None:
    assert database.count_webhooks() == {}
    add(database, server.answers("/hook"))
    add(database, server.answers("/hook"), 2, status="cancelled")
    run_pass(WebhookRunner(db_manager=database))
    assert database.count_webhooks() == {"sent": 1, "cancelled": 1}
