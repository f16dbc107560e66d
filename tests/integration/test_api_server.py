"""The API behind the server that ships: what reaches it over a real socket."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from highway_core.api.app import make_server
from highway_core.config import Settings
from tests.api_client import DOCUMENT, Api, database


@dataclass
class Served:
    """Where the API listens."""

    api: Api
    port: int

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, {name.replace("_", "-"): text for name, text in headers.items()})
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def raw(self, data: bytes) -> bytes:
        """What comes back for these bytes, until the server closes the connection."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as connection:
            came = b""
            try:
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
                while part := connection.recv(65536):
                    came += part
            except OSError:
                came = came or b"HTTP/1.1 reset"  # it was answered while there was more to read
            return came


@pytest.fixture(scope="module")
def served(postgres_server: str) -> Iterator[Served]:
    with database(postgres_server) as url:
        api = Api(url, Settings(api_threads=4, max_body_bytes=100_000))
        server = make_server(api.app, api.settings, "127.0.0.1", 0)
        thread = threading.Thread(target=server.run)
        thread.start()
        yield Served(api, server.effective_port)
        server.task_dispatcher.shutdown()
        server.close()
        thread.join(30)
        assert not thread.is_alive()
        api.close()


def test_a_start_arrives_and_the_answer_says_nothing_about_the_server(served: Served) -> None:
    body = json.dumps({"document": DOCUMENT}).encode()
    status, headers, text = served.ask("POST", "/workflow/start", body, Content_Type="application/json")
    assert status == 202, text
    assert "Server" not in headers
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_a_chunked_body_is_read_and_measured(served: Served) -> None:
    head = (
        b"POST /workflow/start HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n"
    )
    for size, status in ((10, b"202"), (200_000, b"413")):
        body = json.dumps({"document": DOCUMENT, "inputs": {"a": "x" * size}}).encode()
        chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        answer = served.raw(head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)
        assert answer.split()[1] == status, answer[:300]


@pytest.mark.parametrize(
    ("data", "statuses"),
    [
        (b"POST /workflow/start HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999999\r\n\r\n", {b"413"}),
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", {b"431", b"reset"}),
        (b"POST /workflow/start HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", {b"400"}),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", {b"400",
                                                                                                         b"404"}),
        (b"GET /workflow/start/../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n", {b"404"}),
        (b"GET //etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n", {b"404"}),
        (b"rubbish\r\n\r\n", {b"400"}),
    ],
)  # fmt: skip
def test_broken_requests_are_refused_and_nothing_inside_is_shown(
    served: Served, data: bytes, statuses: set[bytes]
) -> None:
    answer = served.raw(data.replace(b"\r\nHost", b"\r\nConnection: close\r\nHost", 1))
    assert answer.split()[1] in statuses, answer[:300]
    assert b"Traceback" not in answer
    assert served.ask("GET", "/healthz")[0] == 200


def test_a_defect_shows_no_traceback(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("inside")

    monkeypatch.setattr(served.api.runs, "pause", fail, raising=False)
    status, _, text = served.ask("POST", "/workflow/pause/x")
    assert status == 500
    assert b"Traceback" not in text
    assert b"inside" not in text


def test_forwarded_headers_do_not_change_who_calls(served: Served) -> None:
    body = json.dumps({"document": DOCUMENT}).encode()
    served.ask("POST", "/workflow/start", body, Content_Type="application/json", X_Forwarded_For="10.9.9.9")
    assert served.api.runs.asked[-1].created_by == "local:127.0.0.1"


def test_a_connection_that_says_nothing_does_not_keep_others_waiting(served: Served) -> None:
    silent = [socket.create_connection(("127.0.0.1", served.port)) for _ in range(50)]
    for one in silent:
        one.sendall(b"POST /workflow/start HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n{")
    assert served.ask("GET", "/healthz")[0] == 200
    for one in silent:
        one.close()
