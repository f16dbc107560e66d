"""What runs inside the guardian process; see :mod:`highway_core.utils.guardian`.

Reads one JSON list per line from the pipe on fd 0 (``["+mark", mark]``, ``["-mark", mark]``,
``["+group", leader, born, mark]``, ``["-group", leader]``, ``["+container", name, docker_host]``,
``["-container", name]``) until the pipe closes or the parent is gone.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys

from highway_core.utils.process_tree import kill_bearers, kill_tree, start_time

_CHUNK = 65536
_PARENT_CHECK_MS = 500
"""How often the parent is looked for where the kernel cannot report its death."""
_CONTAINER_TRIES = 5
_DOCKER_TIMEOUT = 10.0
_DOCKER_PORT = 2375


class _Wards:
    """What is looked after."""

    def __init__(self) -> None:
        self.marks: set[str] = set()
        self.groups: dict[int, tuple[str | None, str]] = {}
        self.containers: dict[str, str] = {}
        self._rest = b""

    def hear(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            verb, subject, *more = json.loads(line)
            match verb:
                case "+mark":
                    self.marks.add(subject)
                case "-mark":
                    self.marks.discard(subject)
                case "+group":
                    self.marks.discard(more[1])
                    self.groups[subject] = (more[0], more[1])
                case "-group":
                    self.groups.pop(subject, None)
                case "+container":
                    self.containers[subject] = more[0]
                case "-container":
                    self.containers.pop(subject, None)

    def end(self) -> None:
        for mark in self.marks:
            kill_bearers(mark)
        for leader, (born, mark) in self.groups.items():
            now = start_time(leader)
            # Another start time: the number was given to a stranger, which happens only when the tree is gone.
            if now is None or born is None or now == born:
                kill_tree(leader, mark)
        for name, docker_host in self.containers.items():
            _remove_container(name, docker_host)


def main() -> None:
    """Wait for the parent's end, then end what it left."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    parent = int(sys.argv[2])
    wards = _Wards()
    os.set_blocking(0, False)
    poll = select.poll()
    poll.register(0, select.POLLIN)
    death = _death_of(parent)
    if death is not None:
        poll.register(death, select.POLLIN)
    while _listen(wards) and os.getppid() == parent:
        poll.poll(None if death is not None else _PARENT_CHECK_MS)
    _listen(wards)
    wards.end()
    os._exit(0)


def _death_of(pid: int) -> int | None:
    """A descriptor that becomes readable when ``pid`` dies: a fork of it may keep the pipe open."""
    if sys.platform != "linux":
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None


def _listen(wards: _Wards) -> bool:
    """Take in all that is in the pipe; False once it is closed."""
    while True:
        try:
            data = os.read(0, _CHUNK)
        except BlockingIOError:
            return True
        if not data:
            return False
        wards.hear(data)


def _remove_container(name: str, docker_host: str) -> None:
    """Through the Engine API. A request to create it may still be on its way, so "not found" is asked again."""
    for _ in range(_CONTAINER_TRIES):
        try:
            status = _delete(docker_host, f"/containers/{name}?force=true&v=true")
        except OSError:
            return  # no daemon; the next run that uses it removes what has no owner
        if status != 404:
            return
        select.select([], [], [], 0.2)


def _delete(docker_host: str, path: str) -> int:
    import socket  # noqa: PLC0415 - needed once, at the very end

    scheme, _, rest = docker_host.partition("://")
    if scheme == "unix":
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(_DOCKER_TIMEOUT)
        connection.connect(rest)
    elif scheme in {"tcp", "http"}:
        host, _, port = rest.rstrip("/").rpartition(":")
        address = (host.strip("[]"), int(port)) if host else (port, _DOCKER_PORT)
        connection = socket.create_connection(address, _DOCKER_TIMEOUT)
    else:
        raise OSError(f"No way to reach {docker_host}")  # ssh, TLS
    with connection:
        connection.sendall(f"DELETE {path} HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n".encode())
        answer = connection.makefile("rb").readline().split()
    return int(answer[1]) if len(answer) > 1 else 0
