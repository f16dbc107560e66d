"""How an HTTP exchange is held: to a moment by which it is over, to whoever stops it, to the addresses it may reach.

The timeouts of sockets count from the last byte, so a server that drips one byte a second never exceeds them. Here a
timer (or the stop scope) shuts the connection itself down, whatever is being waited for: its making, the TLS handshake,
headers, body. A name is resolved once, every address that it has is checked, and the connection goes to one of those,
so that no second answer of a name server can lead elsewhere; host name and certificate are still the name's.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from highway_core.errors import TaskError, TaskStoppedError, TaskTimeoutError
from highway_core.utils.clock import SystemClock
from highway_core.utils.stopping import StopScope

_NAT64 = IPv6Network("64:ff9b::/96")
_Address = tuple[Any, ...]
_Found = tuple[socket.AddressFamily, _Address]


class Watch:
    """One exchange under its limits. ``name`` begins every error: ``GET https://host/path``."""

    def __init__(self, name: str, *, timeout: float, stop: StopScope | None, block_private: bool) -> None:
        self.name = name
        self._timeout = timeout
        self._stop = stop or StopScope()
        self._block_private = block_private
        self._monotonic = SystemClock().monotonic
        self._deadline = self._monotonic() + timeout
        self._lock = threading.Lock()
        self._handle: socket.socket | None = None
        self._over = False

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """Within the block, connections of this thread are held to these limits."""
        timer = threading.Timer(self.remaining(), self._shut_down)
        timer.daemon = True
        timer.start()
        before = _WATCH.set(self)
        try:
            with self._stop.on_stop(self._shut_down):
                yield
        finally:
            _WATCH.reset(before)
            timer.cancel()
            self._release()

    def remaining(self) -> float:
        """Seconds that are left; never zero, which sockets would take for "do not wait"."""
        return max(self._deadline - self._monotonic(), 0.001)

    def check(self) -> None:
        """Raise if the time is over or the attempt was stopped: then an end of the data is none."""
        if self._stop.reason is not None:
            raise TaskStoppedError(self._stop.reason)
        if self._over or self._monotonic() >= self._deadline:
            raise TaskTimeoutError(f"{self.name}: no complete answer within {self._timeout:g} s.")

    def connect(self, host: str, port: int) -> socket.socket:
        """A connection to one of the addresses of ``host``, all of which are allowed."""
        found = self._resolve(host, port)
        problem: OSError | None = None
        for index, (family, address) in enumerate(found):
            self.check()
            try:
                return self._connect(family, address, self.remaining() / (len(found) - index))
            except OSError as error:
                problem = error
        self.check()
        raise TaskError(f"{self.name}: cannot connect to {host}:{port}: {_reason(problem)}.")

    def _connect(self, family: socket.AddressFamily, address: _Address, seconds: float) -> socket.socket:
        connection = socket.socket(family, socket.SOCK_STREAM)
        try:
            self._hold(connection)
            connection.settimeout(seconds)
            connection.connect(address)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.settimeout(self.remaining())
        except OSError:
            connection.close()
            raise
        return connection

    def _hold(self, connection: socket.socket) -> None:
        """Keep a second descriptor of the connection: it stays ours when TLS takes over the first."""
        self._release()
        with self._lock:
            self._handle = connection.dup()
            over = self._over
        if over:
            self._shut_down()

    def _shut_down(self) -> None:
        with self._lock:
            self._over = True
            if self._handle is not None:
                with contextlib.suppress(OSError):  # it is not connected, or no longer
                    self._handle.shutdown(socket.SHUT_RDWR)

    def _release(self) -> None:
        with self._lock:
            handle, self._handle = self._handle, None
        if handle is not None:
            handle.close()

    def _resolve(self, host: str, port: int) -> list[_Found]:
        found = _numeric(host, port) or self._look_up(host, port)
        for _, address in found:
            if self._block_private and not is_public(str(address[0])):
                raise TaskError(
                    f"{self.name}: {host} is {address[0]}, which is no public address, "
                    "and HIGHWAY_HTTP_BLOCK_PRIVATE forbids those."
                )
        return found

    def _look_up(self, host: str, port: int) -> list[_Found]:
        """Ask the name servers, in a thread that is left behind when they do not answer in time."""
        answer: list[list[_Found] | Exception] = []
        done = threading.Event()

        def ask() -> None:
            try:
                answer.append(_addresses(host, port, 0))
            except (OSError, UnicodeError) as error:
                answer.append(error)
            done.set()

        threading.Thread(target=ask, name="highway-name-lookup", daemon=True).start()
        with self._stop.on_stop(done.set):
            done.wait(self.remaining())
        self.check()
        found = answer[0] if answer else []
        if isinstance(found, Exception) or not found:
            why = f" ({_reason(found)})" if isinstance(found, Exception) else ""
            raise TaskError(f"{self.name}: there is no host called '{host}'{why}.")
        return found


_WATCH: ContextVar[Watch] = ContextVar("highway_http_watch")


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the public internet, seen through the IPv6 forms that carry an IPv4 one."""
    ip = ip_address(address)
    carried = _carried(ip)
    if carried is not None:
        return is_public(str(carried))
    local = ip.is_multicast or ip.is_reserved or (isinstance(ip, IPv6Address) and ip.is_site_local)
    return ip.is_global and not local


def _carried(ip: IPv4Address | IPv6Address) -> IPv4Address | None:
    if isinstance(ip, IPv4Address):
        return None
    if ip in _NAT64:
        return IPv4Address(int(ip) & 0xFFFF_FFFF)
    return ip.ipv4_mapped or ip.sixtofour


def _numeric(host: str, port: int) -> list[_Found]:
    """The address that ``host`` spells in any notation (``127.1``, ``0x7f.1``, ``2130706433``); empty for a name."""
    try:
        return _addresses(host, port, socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return []


def _addresses(host: str, port: int, flags: int) -> list[_Found]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    return [(socket.AddressFamily(family), address) for family, _, _, _, address in found]


def _reason(error: Exception | None) -> str:
    return (getattr(error, "strerror", None) or str(error)).lower()


class _HttpConnection(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        return _WATCH.get().connect(self._dns_host, self.port)


class _HttpsConnection(HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        return _WATCH.get().connect(self._dns_host, self.port or 443)


class _HttpPool(HTTPConnectionPool):
    ConnectionCls = _HttpConnection


class _HttpsPool(HTTPSConnectionPool):
    ConnectionCls = _HttpsConnection


class WatchedAdapter(HTTPAdapter):
    """Sends requests over connections that the :class:`Watch` of the thread makes. Never retries, knows no proxy."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}
