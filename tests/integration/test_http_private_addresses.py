"""With HIGHWAY_HTTP_BLOCK_PRIVATE no request reaches this machine or its neighbours, however the address is written."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from highway_core.errors import TaskError, TaskStoppedError
from highway_core.tools import fetch, http, http_connection
from highway_core.utils.stopping import StopScope
from tests.hostile_server import Server, running_server
from tests.tool_context import context_with, inside, settings_with

Names = dict[str, list[str]]


@pytest.fixture
def server() -> Iterator[Server]:
    with running_server() as running, inside(context_with(settings_with(http_block_private=True))):
        running.answers("/", b"secret of this machine")
        yield running


@pytest.fixture
def name_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Names, list[str]]]:
    """Names and their addresses, to be filled in; and which names were asked for. 127.0.0.1 counts as public."""
    names: Names = {}
    asked: list[str] = []
    ask = socket.getaddrinfo

    def answer(host: str, port: int, *, type: int = 0, flags: int = 0) -> list[object]:  # noqa: A002
        if host not in names:
            return ask(host, port, type=type, flags=flags)  # type: ignore[return-value]
        if flags & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "a name")
        asked.append(host)
        return [found for address in names[host] for found in ask(address, port, type=type)]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    monkeypatch.setattr(http_connection, "is_public", lambda address: address == "127.0.0.1")
    yield names, asked


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "0x7f.1",
        "0x7f000001",
        "2130706433",
        "017700000001",
        "0177.0.0.1",
        "127.0.0.1.",
        "0",
        "0.0.0.0",
        "localhost",
        "LOCALHOST.",
        "[::1]",
        "[::]",
        "[::1%25lo]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[0:0:0:0:0:ffff:127.0.0.1]",
        "good.example@127.0.0.1",
        "good.example:80@127.0.0.1",
        "①②⑦.⓪.⓪.①",
        "127。0。0。1",
    ],
)
def test_no_way_of_writing_this_machine_reaches_it(server: Server, host: str) -> None:
    with pytest.raises(TaskError):
        http.request(f"http://{host}:{server.port}/", timeout=20)
    assert server.received == []


@pytest.mark.parametrize(
    "url", ["http://169.254.169.254/latest/meta-data/", "http://[fe80::1]/", "http://10.0.0.1:5432/"]
)
def test_what_is_near_is_named_and_refused_before_anything_is_sent(server: Server, url: str) -> None:
    with pytest.raises(TaskError, match="which is no public address, and HIGHWAY_HTTP_BLOCK_PRIVATE forbids those"):
        http.request(url, timeout=20)


def test_fetch_is_held_to_it_too(server: Server) -> None:
    assert fetch.get(server.url())["status"] == 500
    assert server.received == []


def test_one_private_address_among_public_ones_refuses_the_name(
    server: Server, name_server: tuple[Names, list[str]]
) -> None:
    name_server[0]["mixed.example"] = ["127.0.0.1", "127.0.0.2"]
    with pytest.raises(TaskError, match=r"mixed.example is 127.0.0.2"):
        http.request(server.url(host="mixed.example"))
    assert server.received == []


def test_a_name_is_resolved_once_and_keeps_its_host_header(
    server: Server, name_server: tuple[Names, list[str]]
) -> None:
    names, asked = name_server
    names["good.example"] = ["127.0.0.1"]
    assert http.request(server.url(host="good.example"))["text"] == "secret of this machine"
    assert asked == ["good.example"]
    assert server.received[0].headers["host"] == f"good.example:{server.port}"


def test_a_redirect_to_a_private_address_is_refused(server: Server, name_server: tuple[Names, list[str]]) -> None:
    name_server[0].update({"good.example": ["127.0.0.1"], "evil.example": ["127.0.0.2"]})
    for target in ("http://127.0.0.2/", "http://evil.example/", "//evil.example/", "http://[::1]/"):
        server.answers("/r", status="302 Found", headers=f"Location: {target}\r\n")
        with pytest.raises(TaskError, match="no public address"):
            http.request(server.url("/r", host="good.example"))


def test_the_next_address_is_tried_when_one_does_not_answer(
    server: Server, name_server: tuple[Names, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_connection, "is_public", lambda _: True)
    name_server[0]["two.example"] = ["127.0.0.3", "127.0.0.1"]
    assert http.request(server.url(host="two.example"))["status_code"] == 200


def test_without_the_setting_this_machine_can_be_asked(server: Server) -> None:
    with inside(context_with()):
        assert http.request(server.url(host="localhost"), timeout=20)["text"] == "secret of this machine"


@pytest.fixture
def tls_server(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """A TLS server whose certificate, signed by itself, is for ``good.example``; its port and the certificate."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl, which makes the certificate, is not installed")
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=good.example -addext"
    names = ["subjectAltName=DNS:good.example", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command.split(), *names], check=True, capture_output=True)
    security = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    security.load_cert_chain(certificate, key)

    def serve(listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
                with security.wrap_socket(connection, server_side=True) as spoken:
                    spoken.recv(65536)
                    spoken.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nover")
            except (ssl.SSLError, ConnectionError):
                continue
            except OSError:
                return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=[listener], daemon=True)
        thread.start()
        yield listener.getsockname()[1], certificate
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


def test_a_certificate_is_checked_for_the_name_and_not_for_the_address(
    tls_server: tuple[int, Path], name_server: tuple[Names, list[str]]
) -> None:
    port, certificate = tls_server
    name_server[0].update({"good.example": ["127.0.0.1"], "other.example": ["127.0.0.1"]})
    settings = settings_with(http_block_private=True, environ={"SSL_CERT_FILE": str(certificate)})
    with inside(context_with(settings)):
        assert http.request(f"https://good.example:{port}/", timeout=20)["text"] == "over"
        with pytest.raises(TaskError, match=r"GET https://other.example:\d+/: .*Hostname mismatch"):
            http.request(f"https://other.example:{port}/", timeout=20)


def test_a_certificate_that_nobody_vouches_for_is_refused(
    tls_server: tuple[int, Path], name_server: tuple[Names, list[str]]
) -> None:
    name_server[0]["good.example"] = ["127.0.0.1"]
    with inside(context_with()), pytest.raises(TaskError, match="self-signed certificate"):
        http.request(f"https://good.example:{tls_server[0]}/", timeout=20)


def test_stopping_interrupts_the_making_of_a_connection() -> None:
    stop = StopScope()
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, inside(context_with(stop=stop)):
        place = full.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        try:
            for one in waiting:
                one.setblocking(False)
                one.connect_ex(place)
            threading.Timer(0.2, stop.stop, ["cancelled"]).start()
            with pytest.raises(TaskStoppedError):
                http.request(f"http://127.0.0.1:{place[1]}/", timeout=60)
        finally:
            for one in waiting:
                one.close()
