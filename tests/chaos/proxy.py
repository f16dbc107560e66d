"""A TCP port in front of PostgreSQL's socket, where connections break in every way that they can break."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

from tests.waiting import eventually

_CHUNK = 65536
COMMITS = (b"highway_commit(", b"COMMIT")


class Proxy:
    """Listens until it is closed. ``url`` is that of the database behind it."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        folder = parse_qs(parts.query)["host"][0]
        self._target = f"{folder}/.s.PGSQL.5432"
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        self.url = f"{parts.scheme}://{parts.username or 'postgres'}@127.0.0.1:{port}{parts.path}?sslmode=disable"
        self.port = port
        self._pairs: set[_Pair] = set()
        self._lock = threading.Lock()
        self._thawed = threading.Event()
        self._thawed.set()
        self._watch: tuple[tuple[bytes, ...], Callable[[], str]] = ((), lambda: "")
        self.hits = 0
        """How many answers to what is watched for were dealt with."""
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def reset_all(self) -> int:
        """Break every connection with RST; how many there were."""
        with self._lock:
            pairs = list(self._pairs)
        for one in pairs:
            one.reset()
        return len(pairs)

    def watch(self, patterns: tuple[bytes, ...], what: Callable[[], str]) -> None:
        """Whenever the server has answered a statement with one of ``patterns``, ask ``what`` to do: ``cut`` the
        connection, so that the client never learns; ``hold`` the answer back for ever; or pass it on (anything else).
        """
        self._watch = (patterns, what)

    def stall(self) -> None:
        """From now on nothing comes through, and everybody believes that it will."""
        self.watch((b"",), lambda: "hold")

    def freeze(self) -> None:
        """As SIGSTOP would: the kernel takes everything, and nothing is read any more until ``thaw``, which loses
        nothing. What is just being passed on still is."""
        self._thawed.clear()

    def thaw(self) -> None:
        self._thawed.set()

    def cut_after_commits(self, times: int) -> None:
        """The next ``times`` commits are carried out, and their clients do not learn it."""
        self.hits = 0
        self.watch(COMMITS, lambda: "cut" if self.hits < times else "")

    def has_hit(self, times: int = 1, within: float = 20) -> bool:
        return eventually(lambda: self.hits >= times, within=within)

    def while_frozen(self) -> None:
        """Returns when it is thawed."""
        self._thawed.wait()

    def close(self) -> None:
        self.thaw()
        with contextlib.suppress(OSError):  # it is closed already
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._acceptor.join()
        self.reset_all()

    def deal_with(self, data: bytes) -> Callable[[], str] | None:
        """What is to be asked when the answer to ``data`` comes."""
        patterns, what = self._watch
        if any(one in data for one in patterns):
            return what
        return None

    def hit(self) -> None:
        with self._lock:
            self.hits += 1

    def forget(self, pair: _Pair) -> None:
        with self._lock:
            self._pairs.discard(pair)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.while_frozen()
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(self._target)
            except OSError:  # nobody there: refused, as without a proxy
                server.close()
                _abort(client)
                continue
            pair = _Pair(self, client, server)
            with self._lock:
                self._pairs.add(pair)
                pair.start()


class _Pair:
    """One connection, carried by one thread, which also ends it."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def start(self) -> None:
        self._thread = threading.Thread(target=self._carry, daemon=True)
        self._thread.start()

    def reset(self) -> None:
        """From any thread: the one that carries sees the end of the server, and breaks with the client."""
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._thread.join()

    def _carry(self) -> None:
        with contextlib.suppress(OSError):
            self._both_ways()
        self._proxy.forget(self)
        self._server.close()
        _abort(self._client)

    def _both_ways(self) -> None:
        what: Callable[[], str] | None = None
        poll = select.poll()
        for one in (self._client, self._server):
            poll.register(one, select.POLLIN)
        while True:
            ready = {descriptor for descriptor, _ in poll.poll()}
            self._proxy.while_frozen()
            if self._client.fileno() in ready:
                if not (data := self._client.recv(_CHUNK)):
                    return
                what = self._proxy.deal_with(data) or what
                self._server.sendall(data)
            if self._server.fileno() in ready:
                if not (data := self._server.recv(_CHUNK)):
                    return
                deed, what = "" if what is None else what(), None
                if deed:
                    self._proxy.hit()
                if deed == "cut":
                    return
                if deed != "hold":
                    self._client.sendall(data)


def _abort(one: socket.socket) -> None:
    """Close with RST instead of FIN."""
    with contextlib.suppress(OSError):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    one.close()
