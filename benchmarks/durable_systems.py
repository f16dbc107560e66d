"""The systems: which processes each of them is, and how they are started, spoken to and stopped."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from contenders import ROOT, clean_environment
from environments import environment

PEERS = Path(__file__).resolve().parent / "durable_peers"
WORKERS = 2
_STOP_SECONDS = 15

PACKAGES = {"dbos": ["dbos"], "absurd": ["absurd-sdk", "absurdctl"]}
"""What pip installs for a peer: the newest release. The schema of Absurd comes with absurdctl."""


@dataclass(frozen=True)
class Contender:
    """One system: a script of ``durable_peers`` that can be ``setup``, ``worker`` and ``client``."""

    name: str
    script: str
    python: str = sys.executable
    environ: dict[str, str] = field(default_factory=dict)
    services: tuple[str, ...] = ("worker",) * WORKERS
    sleeps: bool = True
    gathers: bool = False
    """It has another fan-out, of steps that stay in the process of their run."""

    @property
    def key(self) -> str:
        return self.name.lower().replace(" ", "_")


class System:
    """A system that is running, and the client that hands it work."""

    def __init__(self, name: str, url: str, services: list[int], client: subprocess.Popen[str], log: Path) -> None:
        self.name = name
        self.url = url
        self.services = services
        self.client = client.pid
        self.version = ""
        self._client = client
        self._log = log

    def call(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Have the client do something and wait for its answer."""
        assert self._client.stdin is not None
        assert self._client.stdout is not None
        try:
            self._client.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            self._client.stdin.flush()
            line = self._client.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise SystemExit(f"{self.name}: {do} {arguments} failed\n{self._log.read_text()[-4000:]}")
        answer: dict[str, Any] = json.loads(line)
        self.version = answer.pop("version")
        return answer


@contextmanager
def running(contender: Contender, url: str, folder: Path) -> Iterator[System]:
    """Set it up in the database, start its services and its client; stop them all."""
    log = folder / f"{contender.key}.log"
    environ = {
        **clean_environment(),
        "PYTHONUNBUFFERED": "1",
        "BENCH_DATABASE_URL": url,
        "BENCH_FOLDER": str(folder),
        **contender.environ,
    }

    with ExitStack() as stack:
        output = stack.enter_context(log.open("a"))

        def start(role: str, **pipes: Any) -> subprocess.Popen[str]:
            command = [contender.python, str(PEERS / contender.script), role]
            options: dict[str, Any] = {"stdout": output, "stderr": output, "stdin": subprocess.DEVNULL, **pipes}
            return subprocess.Popen(command, env=environ, cwd=folder, text=True, **options)

        setup = start("setup")
        if setup.wait():
            raise SystemExit(f"{contender.name} cannot be set up\n{log.read_text()[-4000:]}")
        services = []
        for role in contender.services:
            services.append(start(role))
            stack.callback(_stop, services[-1])
        client = start("client", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        stack.callback(_stop, client)
        yield System(contender.name, url, [one.pid for one in services], client, log)


def _stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_SECONDS)
        return
    process.kill()
    process.wait()


def contenders(venvs: Path, wanted: set[str]) -> list[Contender]:
    """Those that are wanted, in the order in which they are asked; makes the environments that are missing."""
    makers: dict[str, Callable[[], Contender]] = {
        "highway": lambda: Contender(
            "Highway",
            "highway.py",
            environ={"PYTHONPATH": str(ROOT)},
            services=("worker",) * WORKERS + ("scheduler",),
        ),
        "dbos": lambda: Contender("DBOS", "dbos_app.py", environment(venvs, "dbos", PACKAGES["dbos"]), gathers=True),
        "absurd": lambda: Contender("Absurd", "absurd_app.py", environment(venvs, "absurd", PACKAGES["absurd"])),
        "bare": lambda: Contender("bare loop", "bare_loop.py", sleeps=False),
    }
    return [make() for name, make in makers.items() if name in wanted]


def warm_up(system: System, chain: int) -> None:
    """Until every process has begun to work, caches and connections are there, and the long workflow is known."""
    for _ in range(2):
        system.call("chains", runs=100, steps=5)
        time.sleep(0.2)
    system.call("chains", runs=4, steps=chain)
    system.call("fan_out", width=50)
    system.call("latency", samples=10)
