"""An HTTP server of one's own for tests: each path behaves as its handler says, well or badly."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Received:
    """A request as it came over the wire."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]


Handler = Callable[[Received, socket.socket], None]


@dataclass
class Server:
    """Answers one request a connection. ``received`` holds all of them; ``stopping`` ends handlers that never would."""

    listener: socket.socket
    routes: dict[str, Handler] = field(default_factory=dict)
    received: list[Received] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)
    gone: list[str] = field(default_factory=list)
    """Paths of requests whose client hung up while they were being answered."""

    @property
    def port(self) -> int:
        return int(self.listener.getsockname()[1])

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    def on(self, path: str, handler: Handler) -> str:
        """Let ``handler`` answer ``path``; the address to ask."""
        self.routes[path] = handler
        return self.url(path)

    def answers(self, path: str, body: bytes = b"", *, status: str = "200 OK", headers: str = "") -> str:
        """Let ``path`` answer decently."""
        return self.on(path, reply(body, status=status, headers=headers))

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=[connection], daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            request = read_request(connection)
            if request is None:
                return
            self.received.append(request)
            try:
                self.routes.get(request.path, reply(b"nothing here", status="404 Not Found"))(request, connection)
            except OSError:
                self.gone.append(request.path)


def read_request(connection: socket.socket) -> Received | None:
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            return None
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    while len(body) < int(headers.get("content-length", 0)):
        body += connection.recv(65536)
    method, target, _ = first.split(" ", 2)
    return Received(method, target, headers, body)


def reply(body: bytes = b"", *, status: str = "200 OK", headers: str = "") -> Handler:
    """A decent answer; ``headers`` are lines ending in CR LF."""
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n{headers}\r\n".encode()
    return lambda _, connection: connection.sendall(head + body)


@contextlib.contextmanager
def running_server() -> Iterator[Server]:
    server = Server(socket.create_server(("127.0.0.1", 0)))
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stopping.set()
        server.listener.shutdown(socket.SHUT_RDWR)
        server.listener.close()
        thread.join()
