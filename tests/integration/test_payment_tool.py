"""``api.payment_gateway.pay`` against a gateway on the loopback interface."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from highway_core.config import Settings
from highway_core.errors import TaskError
from highway_core.tools.api import pay
from highway_core.tools.context import ToolContext, enter_context
from highway_core.utils.stopping import StopScope


class Gateway(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[tuple[str, Any]] = []
        self.status = 201
        self.answer = b'{"status": "paid", "transaction_id": "t-1"}'

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/pay"


class Handler(BaseHTTPRequestHandler):
    server: Gateway

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append((self.headers["Idempotency-Key"], body))
        self.send_response(self.server.status)
        self.send_header("Location", "/elsewhere")
        self.end_headers()
        self.wfile.write(self.server.answer)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Quiet."""


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with Gateway() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def attempt() -> Iterator[Callable[[str], None]]:
    def enter(url: str) -> None:
        state = type("State", (), {"memory": {}, "variables": {}, "results": {}})()
        settings = Settings(payment_gateway_url=url)
        enter_context(ToolContext("run", "w", "t", 1, settings, StopScope(), state, idempotency_key="run/t"))

    yield enter
    enter_context(None)


def test_a_payment_is_posted_with_the_key_of_its_task(gateway: Gateway, attempt: Callable[[str], None]) -> None:
    attempt(gateway.url)
    assert pay("exp-1", 12.5) == {"status": "paid", "transaction_id": "t-1"}
    assert gateway.requests == [("run/t", {"report_id": "exp-1", "amount": 12.5})]


@pytest.mark.parametrize(
    ("status", "answer", "said"),
    [
        (402, b"no money left", "answered 402: no money left"),
        (302, b"", "answered 302"),
        (200, b"<html>", "something that is not JSON"),
        (200, b"[]", "answered with list, not with a receipt"),
    ],
)
def test_anything_but_a_receipt_fails_the_task(
    gateway: Gateway, attempt: Callable[[str], None], status: int, answer: bytes, said: str
) -> None:
    gateway.status, gateway.answer = status, answer
    attempt(gateway.url + "?key=s3cret")
    with pytest.raises(TaskError) as caught:
        pay("exp-1", 1)
    assert said in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert len(gateway.requests) == 1


def test_a_gateway_that_is_not_there_fails_the_task_without_its_key(attempt: Callable[[str], None]) -> None:
    with Gateway() as closed:
        url = closed.url
    attempt(url + "?key=s3cret")
    with pytest.raises(TaskError, match=r"cannot be reached: ConnectionError\.$") as caught:
        pay("exp-1", 1)
    assert "s3cret" not in str(caught.value)
