"""The watchdog that outlives this process just long enough to end what it left: process trees and containers.

``finally`` blocks do not run after ``kill -9``. So a tiny second process holds the read end of a pipe whose write end
is only ours, and is told what to look after. When we are gone, however that came about, it ends what was not taken
back, and itself. It is started with the first child and costs nothing before that; nobody waits for it to be up.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

from highway_core.utils.process_tree import start_time

_ROOT = Path(__file__).parents[2]
# -I and -S: no site-packages, nothing of the user's; this is what makes it start in a few milliseconds.
_PROGRAM = "import sys; sys.path.insert(0, sys.argv[1]); from highway_core.utils.guardian_main import main; main()"
_LAST_WAIT = 10.0


class Guardian:
    """Our end of the pipe. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._marks: set[str] = set()
        self._groups: dict[int, tuple[str | None, str]] = {}
        self._containers: dict[str, str] = {}

    def forked(self) -> None:
        """Begin anew in a fork of the process: what the parent registered is the parent's, and so is its guardian."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            self._process.returncode = 0  # not our child: nothing here may wait for it
        self._lock = threading.Lock()
        self._process = None
        self._marks = set()
        self._groups = {}
        self._containers = {}

    def expect(self, mark: str) -> None:
        """Kill whoever bears ``mark`` should we die. To be called before the leader of a tree is started: we may die
        before we can tell its number."""
        with self._lock:
            self._marks.add(mark)
            self._tell("+mark", mark)

    def expect_no_more(self, mark: str) -> None:
        """It could not be started."""
        with self._lock:
            self._marks.discard(mark)
            self._tell("-mark", mark)

    def watch_group(self, leader: int, mark: str) -> None:
        """Kill the process tree of ``leader`` should we die; ``mark`` as in :mod:`process_tree`."""
        born = start_time(leader)
        with self._lock:
            self._marks.discard(mark)
            self._groups[leader] = (born, mark)
            self._tell("+group", leader, born, mark)

    def forget_group(self, leader: int) -> None:
        """The tree is over. To be called before ``leader`` is reaped: after that its number may belong to another."""
        with self._lock:
            if leader in self._groups:
                del self._groups[leader]
                self._tell("-group", leader)

    def watch_container(self, name: str, docker_host: str) -> None:
        """Remove the container called ``name`` should we die. To be called before it is created."""
        with self._lock:
            self._containers[name] = docker_host
            self._tell("+container", name, docker_host)

    def forget_container(self, name: str) -> None:
        """The container is gone."""
        with self._lock:
            if name in self._containers:
                del self._containers[name]
                self._tell("-container", name)

    def close(self) -> None:
        """End the guardian, and with it what is still registered."""
        with self._lock:
            self._dismiss()

    def _tell(self, *message: object) -> None:
        if self._process is not None:
            try:
                self._send(message)
            except OSError:  # somebody killed it; the next one is told everything
                self._dismiss()
            else:
                return
        with contextlib.suppress(OSError):  # no guardian is no reason to do no work
            self._start()
            for mark in self._marks:
                self._send(("+mark", mark))
            for leader, (born, mark) in self._groups.items():
                self._send(("+group", leader, born, mark))
            for name, docker_host in self._containers.items():
                self._send(("+container", name, docker_host))

    def _start(self) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and program
            [sys.executable, "-I", "-S", "-c", _PROGRAM, str(_ROOT), str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
            bufsize=0,
        )

    def _send(self, message: tuple[object, ...]) -> None:
        if self._process is not None and self._process.stdin is not None:
            # One write below PIPE_BUF: lines never mix, and a killed process leaves no half of one.
            self._process.stdin.write(json.dumps(message).encode() + b"\n")

    def _dismiss(self) -> None:
        process, self._process = self._process, None
        if process is None or process.stdin is None:
            return
        with contextlib.suppress(OSError):
            process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_LAST_WAIT)


guardian = Guardian()
"""The one of this process."""
atexit.register(guardian.close)
os.register_at_fork(after_in_child=guardian.forked)
