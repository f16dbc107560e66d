"""One service as a child process: started, listened to, reaped, and started again after a pause that grows."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from highway_core.services.loop import Backoff
from highway_core.utils.clock import Clock

_CHUNK = 65536
_LONGEST_LINE = 65536


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """How to start a service. ``argv`` gets the number of the lifeline's descriptor as its last argument."""

    name: str
    argv: tuple[str, ...]
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """When a service that ended is started again. Seconds."""

    first_pause: float = 0.5
    longest_pause: float = 15.0
    long_life: float = 10.0
    """Who lived that long has worked, and begins anew with the shortest pause."""
    deaths: int = 6
    """So many shorter lives in a row, and it is given up."""


class ChildService:
    """A service and its process, when it has one. Belongs to one thread; only :meth:`signal` is called from others."""

    def __init__(self, spec: ServiceSpec, say: Callable[[str], None], policy: RestartPolicy, clock: Clock) -> None:
        self.name = spec.name
        self.given_up = False
        self._spec = spec
        self._say = say
        self._policy = policy
        self._clock = clock
        self._backoff = Backoff(policy.first_pause, policy.longest_pause)
        self._process: subprocess.Popen[bytes] | None = None
        self._pidfd: int | None = None
        self._rest = b""
        self._begun = 0.0
        self._due: float | None = 0.0
        self._deaths = 0

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    @property
    def due(self) -> float | None:
        """The moment (monotonic) at which it is to be started; None while it runs and after it was given up."""
        return self._due

    def start(self, lifeline: int) -> None:
        """Start the process, in a session of its own: Ctrl-C at the terminal is for the supervisor alone."""
        self._due = None
        self._begun = self._clock.monotonic()
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            [*self._spec.argv, str(lifeline)],
            env=dict(self._spec.environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(lifeline,),
            start_new_session=True,
            bufsize=0,
        )
        assert self._process.stdout is not None  # noqa: S101 - it was asked for
        os.set_blocking(self._process.stdout.fileno(), False)
        self._pidfd = _pidfd(self._process.pid)

    def descriptors(self) -> list[int]:
        """What has something to read when the process said something or ended."""
        if self._process is None:
            return []
        found = [] if self._pidfd is None else [self._pidfd]
        if self._process.stdout is not None and not self._process.stdout.closed:
            found.append(self._process.stdout.fileno())
        return found

    def look(self, *, again: bool) -> None:
        """Pass on what the process said; if it has ended, say so, and set the time of the next start if ``again``."""
        process = self._process
        if process is None:
            return
        ended = process.poll() is not None  # asked before reading: what it said last is still in the pipe
        self._relay(process)
        if ended:
            self._bury(process)
            self._note_death(process.returncode, again)

    def signal(self, number: int) -> None:
        """Send a signal to the process; SIGKILL goes to all that it left in its session's group."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        with suppress(ProcessLookupError, PermissionError):
            if number == signal.SIGKILL:
                os.killpg(process.pid, number)
            else:
                os.kill(process.pid, number)

    def _relay(self, process: subprocess.Popen[bytes]) -> None:
        pipe = process.stdout
        if pipe is None or pipe.closed:
            return
        while True:
            try:
                data = os.read(pipe.fileno(), _CHUNK)
            except BlockingIOError:
                return
            if not data:
                pipe.close()
                return
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                self._pass_on(line)
            if len(self._rest) > _LONGEST_LINE:
                self._flush()

    def _flush(self) -> None:
        if self._rest:
            self._pass_on(self._rest)
            self._rest = b""

    def _pass_on(self, line: bytes) -> None:
        self._say(f"{self.name} | {line.decode('utf-8', 'replace').rstrip()}")

    def _bury(self, process: subprocess.Popen[bytes]) -> None:
        self._flush()
        if process.stdout is not None:
            process.stdout.close()
        if self._pidfd is not None:
            os.close(self._pidfd)
        self._process = self._pidfd = None

    def _note_death(self, code: int, again: bool) -> None:
        if not again:
            if code:
                self._say(f"{self.name} ended with {_how(code)}.")
            return
        lived = self._clock.monotonic() - self._begun
        if lived >= self._policy.long_life:
            self._deaths = 0
            self._backoff.reset()
        self._deaths += 1
        if self._deaths >= self._policy.deaths:
            self.given_up = True
            self._say(f"{self.name} ended with {_how(code)}, {self._deaths} times in a row. It is given up.")
            return
        pause = self._backoff.pause()
        self._due = self._clock.monotonic() + pause
        self._say(f"{self.name} ended with {_how(code)} after {lived:.1f} s; it is started again in {pause:.1f} s.")


def _how(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def _pidfd(pid: int) -> int | None:
    """A descriptor that becomes readable when ``pid`` ends; None where the kernel has none."""
    if sys.platform != "linux":
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None
