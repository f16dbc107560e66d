"""Servers that hang, drip, redirect for ever, hang up or never end: the task fails in time, with bounded memory."""

from __future__ import annotations

import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from highway_core.errors import TaskError, TaskStoppedError, TaskTimeoutError
from highway_core.tools import fetch, http
from highway_core.utils.stopping import StopScope
from tests.hostile_server import Received, Server, reply, running_server
from tests.tool_context import context_with, inside, settings_with
from tests.waiting import eventually

MIB = 1024 * 1024
OK = b"HTTP/1.1 200 OK\r\n"


@pytest.fixture
def server() -> Iterator[Server]:
    with running_server() as running, inside(context_with(settings_with(max_response_bytes=MIB))):
        yield running


def hang(server: Server) -> None:
    server.on("/", lambda _, connection: server.stopping.wait(60) and None)


def endlessly(server: Server, beginning: bytes, part: bytes, pause: float = 0.0) -> None:
    """Send ``beginning`` and then ``part`` again and again."""

    def handler(_: Received, connection: socket.socket) -> None:
        connection.sendall(beginning)
        while not server.stopping.wait(pause):
            connection.sendall(part)

    server.on("/", handler)


NEVER_DONE: dict[str, Callable[[Server], None]] = {
    "never answers": hang,
    "drips its headers": lambda server: endlessly(server, b"HTTP/1.1 200 OK\r\nX-A: ", b"a", 0.02),
    "drips its status line": lambda server: endlessly(server, b"HTTP/1.1 ", b"2", 0.02),
    "drips a body of known length": lambda server: endlessly(server, OK + b"Content-Length: 9999\r\n\r\n", b"a", 0.02),
    "drips a body that ends with the connection": lambda server: endlessly(server, OK + b"\r\n", b"a", 0.02),
    "drips chunks": lambda server: endlessly(server, OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n", 0.02),
    "asks to continue for ever": lambda server: endlessly(server, b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.02),
}


@pytest.mark.parametrize("behaviour", NEVER_DONE)
def test_a_server_that_is_never_done_is_left_at_the_deadline(server: Server, behaviour: str) -> None:
    NEVER_DONE[behaviour](server)
    started = time.monotonic()
    with pytest.raises(TaskTimeoutError, match=r"GET http://127.0.0.1:\d+/: no complete answer within 0.4 s"):
        http.request(server.url(), timeout=0.4)
    assert 0.3 < time.monotonic() - started < 3


@pytest.mark.parametrize("behaviour", NEVER_DONE)
def test_stopping_the_attempt_hangs_up_on_a_server_that_is_never_done(server: Server, behaviour: str) -> None:
    NEVER_DONE[behaviour](server)
    stop = StopScope()
    stopper = threading.Thread(target=lambda: (eventually(lambda: server.received), stop.stop("cancelled")))
    stopper.start()
    started = time.monotonic()
    with inside(context_with(stop=stop)), pytest.raises(TaskStoppedError, match="cancelled"):
        fetch.get(server.url(), timeout=60)
    stopper.join()
    assert time.monotonic() - started < 5
    if behaviour != "never answers":
        assert eventually(lambda: server.gone == ["/"])


def test_fetch_reports_a_server_that_hangs_as_500(server: Server) -> None:
    hang(server)
    answer = fetch.get(server.url(), timeout=0.2)
    assert (answer["status"], answer["headers"]) == (500, {})
    assert "within 0.2 s" in answer["data"]


def test_an_endless_redirect_fails_after_three(server: Server) -> None:
    url = server.answers("/loop", status="302 Found", headers="Location: /loop\r\n")
    with pytest.raises(TaskError, match="redirected more than 3 times"):
        http.request(url)
    assert len(server.received) == 4


def test_the_body_of_a_redirect_is_not_read(server: Server) -> None:
    endlessly(server, b"HTTP/1.1 302 Found\r\nLocation: /there\r\n\r\n", b"x" * 65536)
    server.answers("/there", b"arrived")
    assert http.request(server.url(), timeout=20)["text"] == "arrived"
    assert eventually(lambda: server.gone == ["/"])


@pytest.mark.parametrize("target", ["file:///etc/passwd", "gopher://127.0.0.1:6379/_FLUSHALL", "ftp://127.0.0.1/"])
def test_a_redirect_to_another_scheme_is_refused(server: Server, target: str) -> None:
    url = server.answers("/a", status="302 Found", headers=f"Location: {target}\r\n")
    with pytest.raises(TaskError, match=r"redirected to .* only http:// and https://"):
        http.request(url)


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"HTTP/1.1 2",
        OK + b"Content-Length: 100\r\n\r\nonly ten b",
        OK + b"Transfer-Encoding: chunked\r\n\r\n64\r\nonly ten b",
        OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        OK + b"Content-Encoding: gzip\r\nContent-Length: 8\r\n\r\nno gzip!",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x00" * 100,
        OK + b"X: y\r\n" * 2_000 + b"\r\n",
        OK + b"X: " + b"y" * 100_000 + b"\r\n\r\n",
    ],
    ids=[
        "hangs up at once",
        "hangs up in the status line",
        "hangs up in the body",
        "hangs up in a chunk",
        "sends a chunk of no length",
        "sends no gzip as gzip",
        "is not an HTTP server",
        "sends zeros",
        "sends 2,000 headers",
        "sends a header of 100 KB",
    ],
)
def test_a_broken_answer_fails_the_task_and_is_never_taken_for_a_whole_one(server: Server, sent: bytes) -> None:
    server.on("/", lambda _, connection: connection.sendall(sent))
    with pytest.raises(TaskError, match=r"^GET http://127.0.0.1:\d+/: .+"):
        http.request(server.url(), timeout=20)


@pytest.mark.parametrize("promise", [b"Content-Length: 10000000000\r\n", b"", b"Transfer-Encoding: chunked\r\n"])
def test_a_body_without_end_is_left_at_the_limit(server: Server, promise: bytes) -> None:
    part = b"10000\r\n" + b"x" * 65536 + b"\r\n" if b"chunked" in promise else b"x" * 65536
    endlessly(server, OK + promise + b"\r\n", part)
    with pytest.raises(TaskError, match=r"larger than 1,048,576 bytes \(HIGHWAY_MAX_RESPONSE_BYTES\)"):
        http.request(server.url())
    assert eventually(lambda: server.gone == ["/"])


def test_a_small_body_that_unpacks_to_a_large_one_is_left_at_the_limit(server: Server) -> None:
    packer = zlib.compressobj(9, wbits=31)
    bomb = packer.compress(b"\0" * (200 * MIB)) + packer.flush()
    server.answers("/bomb", bomb, headers="Content-Encoding: gzip\r\n")
    with pytest.raises(TaskError, match="larger than 1,048,576 bytes"):
        http.request(server.url("/bomb"))


def test_a_server_that_does_not_take_the_connection_is_left_at_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, inside(context_with()):
        place = full.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        try:
            for one in waiting:
                one.setblocking(False)
                one.connect_ex(place)
            with pytest.raises(TaskTimeoutError, match=r"within 0.3 s"):
                http.request(f"http://127.0.0.1:{place[1]}/", timeout=0.3)
        finally:
            for one in waiting:
                one.close()


def test_a_tls_handshake_that_never_ends_is_left_at_the_deadline() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        inside(context_with()),
        pytest.raises(TaskTimeoutError, match=r"within 0.3 s"),
    ):
        http.request(f"https://127.0.0.1:{silent.getsockname()[1]}/", timeout=0.3)


@pytest.fixture
def no_name_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Name servers that never answer."""
    over, ask = threading.Event(), socket.getaddrinfo

    def silent(host: str, *rest: object, flags: int = 0, **options: object) -> object:
        if not flags & socket.AI_NUMERICHOST:
            over.wait(60)
        return ask(host, *rest, flags=flags, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    yield
    over.set()


@pytest.mark.usefixtures("no_name_server")
def test_a_name_server_that_does_not_answer_is_left_at_the_deadline() -> None:
    with inside(context_with()), pytest.raises(TaskTimeoutError, match=r"within 0.3 s"):
        http.request("http://localhost:9/", timeout=0.3)


@pytest.mark.usefixtures("no_name_server")
def test_stopping_the_attempt_does_not_wait_for_a_name_server() -> None:
    stop = StopScope()
    threading.Timer(0.1, stop.stop, ["cancelled"]).start()
    with inside(context_with(stop=stop)), pytest.raises(TaskStoppedError):
        http.request("http://localhost:9/", timeout=60)


def test_an_attempt_that_is_stopped_already_asks_nobody(server: Server) -> None:
    stop = StopScope()
    stop.stop("too late")
    with inside(context_with(stop=stop)), pytest.raises(TaskStoppedError, match="too late"):
        http.request(server.url())
    assert server.received == []


def test_a_hundred_broken_exchanges_leave_no_descriptor_and_no_thread(server: Server) -> None:
    server.on("/cut", lambda _, connection: connection.sendall(OK + b"Content-Length: 100\r\n\r\nx"))
    server.on("/fine", reply(b"fine"))
    fetch.get(server.url("/fine"))
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(50):
        fetch.get(server.url("/cut"))
        fetch.get(server.url("/fine"))
    assert eventually(lambda: len(list(Path("/proc/self/fd").iterdir())) <= before)
    assert eventually(lambda: not [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)])
