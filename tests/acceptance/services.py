"""Real services for tests: started as a user starts them, killed as a machine kills them, and none of them left behind.

Every process of a :class:`Services` bears a mark in its environment, and so does whatever it starts: that is how
:meth:`Services.close` finds what a test left.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.command_line import CLI, CommandLine, Done
from tests.waiting import eventually, runs

PATIENCE = 60.0
_KINDS = ("worker", "scheduler", "api")


def free_port() -> int:
    """A port that nobody listens at now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Service:
    """A started process: one service, or ``start-services`` with its children."""

    def __init__(self, argv: list[str], folder: Path, environ: Mapping[str, str], number: int) -> None:
        self.name = argv[1]
        self._log = folder / f"{number:02}-{self.name}.log"
        # Where the suite runs in the background of a script, SIGINT is ignored, and would be in the service.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(CLI), *argv],
                cwd=folder,
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def log(self) -> str:
        """All that it said so far."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def says(self, pattern: str, within: float = PATIENCE) -> re.Match[str]:
        """The first place of the log that matches; AssertionError, with the log, if there is none in time."""
        found: list[re.Match[str]] = []

        def look() -> bool:
            match = re.search(pattern, self.log(), re.MULTILINE)
            if match:
                found.append(match)
            return bool(match) or self.process.poll() is not None

        eventually(look, within=within)
        if not found and (match := re.search(pattern, self.log(), re.MULTILINE)):
            found.append(match)
        assert found, f"{self.name} did not say {pattern!r} (exit code {self.process.poll()}):\n{self.log()}"
        return found[0]

    def ready(self, within: float = PATIENCE) -> Service:
        """``start-services`` has said that everything is up."""
        self.says(r"^Ready\.", within)
        return self

    def children(self, kind: str = "") -> list[int]:
        """The living processes of its services of a kind (worker, scheduler, api; all if empty), the oldest first."""
        words = [f"start-{one}" for one in ([kind] if kind else _KINDS)]
        return [pid for pid in _children_of(self.pid) if any(word in _command(pid) for word in words)]

    def send(self, number: int) -> None:
        os.kill(self.pid, number)

    def stop(self, number: int = signal.SIGTERM, within: float = PATIENCE) -> int:
        """Send a signal and wait for the end; the exit code."""
        self.send(number)
        return self.ends(within)

    def ends(self, within: float = PATIENCE) -> int:
        """Wait for the end; the exit code."""
        try:
            return self.process.wait(within)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} did not end in {within:g} s:\n{self.log()}") from None


class Services:
    """The services of one test, on one database; without ``database_url`` on the embedded PostgreSQL of the folder."""

    def __init__(self, folder: Path, database_url: str | None, **environ: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.command_line = CommandLine(folder)
        self._mark = f"highway-test-{uuid.uuid4().hex}"
        self._started: list[Service] = []
        self.environ = self.command_line.environ
        self.environ |= {
            "HIGHWAY_API_PORT": str(self.port),
            "HIGHWAY_HOME": str(folder / "home"),
            "HIGHWAY_TEST_MARK": self._mark,
        } | environ
        if database_url is None:
            self.environ.pop("HIGHWAY_DATABASE_URL")
        else:
            self.environ["HIGHWAY_DATABASE_URL"] = database_url

    def all(self, *options: str, workers: int = 1, **environ: str) -> Service:
        """``durable start-services``."""
        return self.start("start-services", "--workers", str(workers), *options, **environ)

    def worker(self, *options: str, **environ: str) -> Service:
        return self.start("start-worker", *options, **environ)

    def scheduler(self, **environ: str) -> Service:
        return self.start("start-scheduler", **environ)

    def api(self, *options: str, **environ: str) -> Service:
        return self.start("start-api", *options, **environ)

    def start(self, *arguments: str, **environ: str) -> Service:
        """``durable`` with these arguments, in the background."""
        service = Service(["durable", *arguments], self.folder, self.environ | environ, len(self._started))
        self._started.append(service)
        return service

    def cli(self, *arguments: str, **environ: str) -> Done:
        """``durable`` with these arguments, to its end."""
        return self.command_line("durable", *arguments, **environ)

    def answers(self, path: str = "/readyz", within: float = PATIENCE) -> Any:
        """The JSON that the API answers with, as soon as it answers with 200."""
        answer: list[Any] = []

        def ask() -> bool:
            with contextlib.suppress(OSError), urllib.request.urlopen(self.url + path, timeout=5) as response:
                text = response.read().decode()
                answer.append(json.loads(text) if text.startswith(("{", "[")) else text)
            return bool(answer)

        assert eventually(ask, within=within), f"{self.url}{path} did not answer:\n{self.logs()}"
        return answer[0]

    def status(self, run_id: str) -> dict[str, Any]:
        """One run, as the command line shows it."""
        done = self.cli("status", run_id, "--json")
        assert done.code == 0, done.err
        return dict(done.json)

    def tasks(self, run_id: str) -> dict[str, str]:
        """Task id → status."""
        return {task["task_id"]: task["status"] for task in self.status(run_id)["tasks"]}

    def is_over(self, run_id: str, within: float = PATIENCE) -> str:
        """Wait for the end of a run; its status."""
        deadline = time.monotonic() + within
        while True:
            told = self.status(run_id)
            if told["workflow_status"] in {"completed", "failed", "cancelled"}:
                return str(told["workflow_status"])
            assert time.monotonic() < deadline, f"{run_id} is not over: {told}\n{self.logs()}"

    def logs(self) -> str:
        """What all services said."""
        return "\n".join(f"--- {service.name}\n{service.log()}" for service in self._started)

    def left_behind(self) -> list[int]:
        """The living processes that were started by this, or by what it started."""
        return sorted(pid for pid in _pids() if runs(pid) and self._mark.encode() in _environ(pid))

    def close(self) -> None:
        """End every process that is left."""
        for service in self._started:
            if service.process.poll() is None:
                service.send(signal.SIGCONT)
        for _ in range(50):
            left = self.left_behind()
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if not left:
                break
            time.sleep(0.02)
        for service in self._started:
            service.process.wait(PATIENCE)


def _pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _children_of(parent: int) -> list[int]:
    found = []
    for pid in sorted(_pids()):
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            continue
        if int(stat.rpartition(")")[2].split()[1]) == parent and runs(pid):
            found.append(pid)
    return found


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def _environ(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""
