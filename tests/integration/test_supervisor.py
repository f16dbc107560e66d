"""The supervisor with small real processes in the place of services."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from highway_core.errors import StorageError
from highway_core.services.child_service import RestartPolicy, ServiceSpec
from highway_core.services.loop import Stop
from highway_core.services.supervisor import Supervisor
from tests.waiting import eventually, runs

QUICK = RestartPolicy(first_pause=0.02, longest_pause=0.05, long_life=60, deaths=3)
STEADY = (
    "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM]); print('up', flush=True);"
    "signal.sigwait([signal.SIGTERM]); print('bye', flush=True)"
)
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); signal.pause()"
BROKEN = "import sys; print('no', flush=True); sys.exit(7)"

SUPERVISOR = """
import os, sys
from highway_core.services.child_service import ServiceSpec
from highway_core.services.loop import Stop
from highway_core.services.supervisor import Supervisor

child = '''
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
from highway_core.services.lifeline import follow
follow(int(sys.argv[1]))
open("{pid_file}", "w").write(str(os.getpid()) + chr(10))
signal.sigwait([signal.SIGTERM])
open("{pid_file}.bye", "w").close()
'''
spec = ServiceSpec("worker-1", (sys.executable, "-c", child), dict(os.environ))
Supervisor([spec], lambda line: print(line, flush=True), Stop(), is_ready=lambda: False).run()
"""


def service(name: str, program: str) -> ServiceSpec:
    return ServiceSpec(name, (sys.executable, "-c", program), {**os.environ})


class FakeServer:
    """Counts how often it was started; runs only while it is told to."""

    def __init__(self, refusals: int = 0) -> None:
        self.starts = 0
        self.running = True
        self._refusals = refusals

    def is_running(self) -> bool:
        return self.running

    def start(self) -> None:
        self.starts += 1
        if self.starts <= self._refusals:
            raise StorageError("the disk is full")
        self.running = True

    def stop(self) -> None:
        self.running = False


class Supervised:
    """A supervisor on a thread of its own."""

    def __init__(self, *specs: ServiceSpec, ready: Callable[[], bool] = lambda: True, **more: object) -> None:
        self.said: list[str] = []
        self.stop = Stop()
        self.code: int | None = None
        self.supervisor = Supervisor(
            specs,
            self.said.append,
            self.stop,
            is_ready=ready,
            when_ready=lambda: self.said.append("Ready"),
            policy=QUICK,
            **more,  # type: ignore[arg-type]
        )
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        self.code = self.supervisor.run()

    def hears(self, text: str, times: int = 1) -> None:
        enough = eventually(lambda: sum(text in line for line in list(self.said)) >= times)
        assert enough, self.said

    def pid(self, number: int = 0) -> int:
        children = self.supervisor._children
        assert eventually(lambda: children[number].pid is not None)
        return children[number].pid or 0

    def end(self) -> int | None:
        self.stop.set()
        self._thread.join(30)
        return self.code

    def ends(self) -> int | None:
        self._thread.join(30)
        return self.code


@pytest.fixture
def supervised() -> Iterator[Callable[..., Supervised]]:
    made: list[Supervised] = []

    def make(*specs: ServiceSpec, **more: object) -> Supervised:
        made.append(Supervised(*specs, **more))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        one.supervisor.kill()
        one.end()


def test_what_services_say_is_passed_on_under_their_names(supervised: Callable[..., Supervised]) -> None:
    both = supervised(service("worker-1", STEADY), service("scheduler", STEADY))
    both.hears("worker-1 | up")
    both.hears("scheduler | up")
    assert both.end() == 0
    assert "worker-1 | bye" in both.said
    assert "scheduler | bye" in both.said


def test_a_service_that_is_killed_is_started_again(supervised: Callable[..., Supervised]) -> None:
    one = supervised(service("worker-1", STEADY))
    one.hears("worker-1 | up")
    first = one.pid()
    os.kill(first, signal.SIGKILL)
    one.hears("worker-1 | up", times=2)
    assert one.pid() != first
    assert any("worker-1 ended with SIGKILL" in line and "started again" in line for line in one.said)
    assert one.end() == 0


def test_a_service_that_never_lives_is_given_up_and_the_others_are_stopped(
    supervised: Callable[..., Supervised],
) -> None:
    pair = supervised(service("api", BROKEN), service("worker-1", STEADY))
    assert pair.ends() == 1
    assert pair.said.count("api | no") == QUICK.deaths
    assert "api ended with exit code 7, 3 times in a row. It is given up." in pair.said
    assert "worker-1 | bye" in pair.said


def test_a_service_that_does_not_stop_in_its_grace_time_is_killed(
    supervised: Callable[..., Supervised], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("highway_core.services.supervisor._MARGIN", 0.2)
    deaf = supervised(service("worker-1", DEAF), grace=0.2)
    deaf.hears("worker-1 | up")
    pid = deaf.pid()
    assert deaf.end() == 1
    assert any("worker-1 did not stop in 0.4 s and is killed" in line for line in deaf.said)
    assert eventually(lambda: not runs(pid))


def test_killing_ends_the_services_at_once(supervised: Callable[..., Supervised]) -> None:
    deaf = supervised(service("worker-1", DEAF))
    deaf.hears("worker-1 | up")
    deaf.stop.set()
    deaf.hears("Stopping")
    deaf.supervisor.kill()
    assert deaf.ends() == 0


def test_ready_is_said_once_and_only_when_it_is_so(supervised: Callable[..., Supervised]) -> None:
    asked = iter([False, False, True])
    one = supervised(service("worker-1", STEADY), ready=lambda: next(asked))
    one.hears("Ready")
    os.kill(one.pid(), signal.SIGKILL)
    one.hears("worker-1 | up", times=2)
    assert one.said.count("Ready") == 1


def test_a_line_without_an_end_is_passed_on_when_the_service_ends(supervised: Callable[..., Supervised]) -> None:
    one = supervised(service("worker-1", "import sys; sys.stdout.write('half a line')"))
    one.hears("worker-1 | half a line")


def test_a_service_that_never_ends_its_line_does_not_fill_the_memory(supervised: Callable[..., Supervised]) -> None:
    one = supervised(service("worker-1", f"import sys; sys.stdout.write('x' * 300_000); sys.stdout.flush(); {STEADY}"))
    one.hears("worker-1 | xxx", times=2)
    assert max(map(len, one.said)) < 200_000


def test_the_server_beneath_is_started_again_and_a_failure_is_said(supervised: Callable[..., Supervised]) -> None:
    server = FakeServer(refusals=1)
    one = supervised(service("worker-1", STEADY), server=server)
    one.hears("worker-1 | up")
    server.running = False
    one.hears("The embedded PostgreSQL is gone", times=2)
    assert eventually(server.is_running)
    assert any("the disk is full" in line for line in one.said)
    assert one.end() == 0


def test_a_service_stops_in_good_order_when_its_supervisor_is_killed(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    program = SUPERVISOR.format(pid_file=str(pid_file))
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert eventually(lambda: pid_file.exists() and pid_file.read_text().endswith("\n"))
    child = int(pid_file.read_text())
    process.kill()
    process.wait()
    process.stdout.close()
    assert eventually(lambda: not runs(child))
    assert (tmp_path / "pid.bye").exists()
