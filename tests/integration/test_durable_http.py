"""The command line and an API that is somewhere else, or nowhere."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from highway_core.cli.durable_clients import http
from highway_core.cli.durable_clients.answers import RefusedError, Request
from highway_core.cli.durable_clients.http import HttpTransport
from highway_core.errors import ConfigError

ASK = Request("GET", "/workflows", {"name": "a&b"})


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.asked.append((self.path, dict(self.headers)))  # type: ignore[attr-defined]
        if self.path.startswith("/slow"):
            self.server.gate.wait(30)  # type: ignore[attr-defined]
        elsewhere = self.path.startswith("/elsewhere")
        self.send_response(302 if elsewhere else 200)
        if elsewhere:
            self.send_header("Location", "/workflows")
        self.end_headers()
        self.wfile.write(json.dumps({"path": self.path}).encode())

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def api() -> Iterator[Any]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    server.asked = []  # type: ignore[attr-defined]
    server.gate = threading.Event()  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.gate.set()  # type: ignore[attr-defined]
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def transport(api: Any) -> Iterator[HttpTransport]:
    made = HttpTransport(f"http://127.0.0.1:{api.server_port}/", "hw_k1_secret")
    yield made
    made.close()


def test_the_key_is_shown_and_the_query_is_encoded(api: Any, transport: HttpTransport) -> None:
    status, body = transport.send(ASK)
    assert (status, json.loads(body)) == (200, {"path": "/workflows?name=a%26b"})
    ((_, headers),) = api.asked
    assert headers["Authorization"] == "Bearer hw_k1_secret"


def test_a_redirect_is_not_followed_with_the_key(api: Any, transport: HttpTransport) -> None:
    status, _ = transport.send(Request("GET", "/elsewhere", {}))
    assert status == 302
    assert len(api.asked) == 1


def test_an_api_that_does_not_answer_is_given_up(transport: HttpTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_ANSWER_SECONDS", 0.1)
    with pytest.raises(RefusedError, match="does not answer in time"):
        transport.send(Request("GET", "/slow", {}))


def test_no_api_is_one_sentence_with_the_way_out() -> None:
    with socket.socket() as taken:  # bound and deaf: nobody else gets the port meanwhile
        taken.bind(("127.0.0.1", 0))
        transport = HttpTransport(f"http://127.0.0.1:{taken.getsockname()[1]}", None)
        with pytest.raises(RefusedError) as refused:
            transport.send(ASK)
        transport.close()
    text = str(refused.value)
    assert "Connection refused" in text
    assert "highway durable start-api" in text
    assert "\n" not in text
    assert "object at 0x" not in text


def test_an_address_without_a_scheme_is_refused() -> None:
    with pytest.raises(ConfigError, match="begins with http"):
        HttpTransport("localhost:5000", None)
