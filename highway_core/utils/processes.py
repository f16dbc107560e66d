"""Child processes that can be stopped: started as a tree of their own, read without deadlock, ended as a whole.

One thread, the caller's, serves all pipes of its child in one loop that also listens for the child's end, the stop
scope and the deadline. What the child leaves in the background is killed with it and never waited for, even if it
keeps a pipe open.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from highway_core.errors import OutputLimitError, TaskError, TaskStoppedError, TaskTimeoutError
from highway_core.utils.guardian import guardian
from highway_core.utils.process_identity import is_alive, process_identity
from highway_core.utils.process_tree import MARK, kill_group, kill_tree, signal_tree
from highway_core.utils.stopping import StopScope

__all__ = ["Command", "ProcessResult", "carry_out", "is_alive", "process_identity", "run_process"]

_CHUNK = 65536
_GRACE = 1.0
"""Seconds between SIGTERM and SIGKILL."""
_AFTERMATH = 0.25
"""Seconds for what others still write once the child has ended, as ``tee`` does in ``> >(tee log)``."""
_EXIT_CHECK = 0.02
"""How often the child is looked at where the kernel cannot report its end through a descriptor."""


@dataclass(frozen=True, slots=True)
class ProcessResult:
    """How a process ended; ``returncode`` is negative for a signal, as in :mod:`subprocess`."""

    returncode: int
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True)
class Command:
    """One process to be run. Times in seconds, sizes in bytes.

    With ``answer_limit`` stdout is not output but an answer to us, with a limit of its own. ``on_stderr`` gets
    stderr as it comes, instead of the result.
    """

    argv: tuple[str, ...]
    max_output: int
    name: str = ""
    """What error messages call it; the program's name if empty."""
    env: Mapping[str, str] | None = None
    cwd: Path | None = None
    stdin: bytes = b""
    timeout: float | None = None
    answer_limit: int | None = None
    on_stderr: Callable[[bytes], None] | None = None
    leave_daemons: bool = True
    """What left the session on purpose outlives an orderly end."""


def run_process(  # noqa: PLR0913 - what a child process needs; all but the first by keyword
    argv: Sequence[str],
    *,
    max_output: int,
    stop: StopScope | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: bytes = b"",
    timeout: float | None = None,
) -> ProcessResult:
    """Run ``argv`` to its end in a session of its own; ``env=None`` inherits the environment.

    Raises TaskStoppedError when ``stop`` is stopped, TaskTimeoutError after ``timeout``, OutputLimitError after
    ``max_output`` bytes on stdout and stderr together (the whole process tree is dead by then), and OSError if the
    program cannot be started.
    """
    command = Command(tuple(argv), max_output, env=env, cwd=cwd, stdin=stdin, timeout=timeout)
    return carry_out(command, stop)


def carry_out(command: Command, stop: StopScope | None = None) -> ProcessResult:
    """:func:`run_process` with everything that can be asked of it."""
    if stop is not None:
        stop.check()
    child = _Child(command)
    try:
        with child.stopped_by(stop):
            child.serve()
    finally:
        child.close()
    return child.result()


class _Child:
    """One process tree and our ends of its pipes. Belongs to one thread; only :meth:`_wake` is called from others."""

    def __init__(self, command: Command) -> None:
        self._command = command
        self._name = command.name or Path(command.argv[0]).name
        self._mark = os.urandom(8).hex()
        self._deadline = None if command.timeout is None else time.monotonic() + command.timeout
        self._stop: StopScope | None = None
        self._lock = threading.Lock()
        self._to_wake: int | None = None
        self._descriptors: list[int] = []
        self._pending = memoryview(command.stdin)
        self._stdout: list[bytes] = []
        self._stderr: list[bytes] = []
        self._printed = 0
        self._answered = 0
        self._discard = False
        self._exited = False
        guardian.expect(self._mark)
        try:
            self._process = subprocess.Popen(  # noqa: S603 - the caller's command, as a list
                command.argv,
                stdin=subprocess.PIPE if command.stdin else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=_marked(command.env, self._mark),
                cwd=command.cwd,
                start_new_session=True,
                bufsize=0,
            )
        except BaseException:
            guardian.expect_no_more(self._mark)
            raise
        self._pipes = [(self._process.stdout, self._read_stdout), (self._process.stderr, self._read_stderr)]
        self._pidfd: int | None = None
        self._selector = selectors.DefaultSelector()
        try:
            guardian.watch_group(self._process.pid, self._mark)
            self._connect()
        except BaseException:  # Ctrl-C: nobody else knows of the child yet
            self.close()
            raise

    def _connect(self) -> None:
        for pipe, read in self._pipes:
            if pipe is not None:
                os.set_blocking(pipe.fileno(), False)
                self._selector.register(pipe, selectors.EVENT_READ, read)
        if self._process.stdin is not None:
            os.set_blocking(self._process.stdin.fileno(), False)
            self._selector.register(self._process.stdin, selectors.EVENT_WRITE, self._write)
        self._pidfd = _pidfd(self._process.pid)
        if self._pidfd is not None:
            self._descriptors.append(self._pidfd)
            self._selector.register(self._pidfd, selectors.EVENT_READ, self._note_exit)

    @contextlib.contextmanager
    def stopped_by(self, stop: StopScope | None) -> Iterator[None]:
        """Let ``stop`` interrupt :meth:`serve`."""
        self._stop = stop
        if stop is None:
            yield
            return
        listening, self._to_wake = os.pipe()
        self._descriptors += [listening, self._to_wake]
        self._selector.register(listening, selectors.EVENT_READ, self._drop)
        with stop.on_stop(self._wake):
            yield

    def _wake(self) -> None:
        with self._lock:
            if self._to_wake is not None:
                os.write(self._to_wake, b"!")

    def serve(self) -> None:
        """Until the child has ended by itself; raises after having ended it otherwise."""
        try:
            while not self._exited:
                self._check()
                self._turn(self._deadline)
            until = time.monotonic() + _AFTERMATH
            while self._is_heard() and time.monotonic() < until:
                self._turn(until)
        except TaskError:
            self._terminate()
            raise

    def _check(self) -> None:
        if self._stop is not None and self._stop.reason is not None:
            raise TaskStoppedError(self._stop.reason)
        if self._deadline is not None and time.monotonic() >= self._deadline:
            raise TaskTimeoutError(f"'{self._name}' ran longer than {self._command.timeout:g} s and was killed.")

    def _turn(self, until: float | None) -> None:
        """Serve what is ready; wait for it until ``until`` at the latest."""
        wait = None if until is None else max(0.0, until - time.monotonic())
        if self._pidfd is None:
            wait = _EXIT_CHECK if wait is None else min(wait, _EXIT_CHECK)
            self._exited = self._process.poll() is not None
        for key, _ in self._selector.select(wait):
            key.data(key.fileobj)

    def _is_heard(self) -> bool:
        """Whether somebody may still write to us."""
        return any(pipe in self._selector.get_map() for pipe, _ in self._pipes)

    def _terminate(self) -> None:
        """SIGTERM, and SIGKILL for those who do not go. Their pipes are emptied meanwhile, or they might hang."""
        self._discard = True
        if not self._exited:
            signal_tree(self._process.pid, signal.SIGTERM, self._mark)
        until = time.monotonic() + _GRACE
        while not self._exited and time.monotonic() < until:
            self._turn(until)
        kill_tree(self._process.pid, self._mark)

    def close(self) -> None:
        """End what is left of the tree, and give back every descriptor."""
        leader = self._process.pid
        if self._exited and self._command.leave_daemons:
            kill_group(leader)
        else:
            kill_tree(leader, self._mark)
        guardian.forget_group(leader)
        self._process.wait()
        with self._lock:
            self._to_wake = None
        self._selector.close()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()
        for descriptor in self._descriptors:
            os.close(descriptor)

    def result(self) -> ProcessResult:
        return ProcessResult(self._process.returncode, _text(self._stdout), _text(self._stderr))

    def _write(self, pipe: IO[bytes]) -> None:
        try:
            self._pending = self._pending[os.write(pipe.fileno(), self._pending[:_CHUNK]) :]
        except BlockingIOError:
            return
        except BrokenPipeError:  # it does not want to hear the rest
            self._pending = memoryview(b"")
        if not self._pending:
            self._selector.unregister(pipe)
            pipe.close()

    def _read_stdout(self, pipe: IO[bytes]) -> None:
        data = self._read(pipe)
        limit = self._command.answer_limit
        if limit is None:
            self._count(data)
        else:
            self._answered += len(data)
            if self._answered > limit:
                raise OutputLimitError(f"'{self._name}' answered with more than {limit:,} bytes and was killed.")
        self._stdout.append(data)

    def _read_stderr(self, pipe: IO[bytes]) -> None:
        data = self._read(pipe)
        if self._command.on_stderr is None:
            self._stderr.append(data)
        elif data:
            self._command.on_stderr(data)
        self._count(data)

    def _read(self, pipe: IO[bytes]) -> bytes:
        """What is there; empty if nothing is."""
        try:
            data = os.read(pipe.fileno(), _CHUNK)
        except BlockingIOError:
            return b""
        if not data:
            self._selector.unregister(pipe)
        return b"" if self._discard else data

    def _count(self, data: bytes) -> None:
        self._printed += len(data)
        limit = self._command.max_output
        if data and self._printed > limit:
            raise OutputLimitError(
                f"'{self._name}' printed more than {limit:,} bytes and was killed; "
                "print less, or raise HIGHWAY_MAX_OUTPUT_BYTES."
            )

    def _note_exit(self, pidfd: int) -> None:
        self._exited = True
        self._selector.unregister(pidfd)

    def _drop(self, listening: int) -> None:
        os.read(listening, _CHUNK)


def _marked(env: Mapping[str, str] | None, mark: str) -> dict[str, str]:
    # Handed on whole and unread: what a setting means is decided in config.py alone.
    inherited = os.environ if env is None else env  # noqa: TID251
    return {**inherited, MARK: f"{inherited.get(MARK, '')} {mark}".strip()}


def _pidfd(pid: int) -> int | None:
    """A descriptor that becomes readable when ``pid`` ends; None where the kernel has none."""
    if sys.platform != "linux":
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None


def _text(chunks: list[bytes]) -> str:
    return b"".join(chunks).decode("utf-8", "replace")
