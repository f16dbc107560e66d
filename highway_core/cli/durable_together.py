"""``durable start-services``: workers, a scheduler and the API as processes, and the embedded PostgreSQL if need be."""

from __future__ import annotations

import signal
import socket
import sys
from argparse import Namespace
from collections.abc import Callable
from dataclasses import replace
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import highway_core
from highway_core.cli.durable_database import is_named
from highway_core.cli.durable_services import check_address, with_options
from highway_core.cli.output import Output
from highway_core.cli.text import counted
from highway_core.config import Settings, current_settings
from highway_core.errors import StorageError
from highway_core.persistence.durable_connection import DurableConnection, durable_location
from highway_core.persistence.statements.services import COUNT_SEEN
from highway_core.services.child_service import ServiceSpec
from highway_core.services.database_gate import await_database
from highway_core.services.embedded_postgres import EmbeddedPostgres
from highway_core.services.loop import Stop, install_stop_signals, leave
from highway_core.services.supervisor import Supervisor

_PROGRAM = Path(highway_core.__file__).parents[1] / "cli.py"
_PROBE_SECONDS = 2.0
_OWN_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where a server that hears everything is asked
_WORKER = "worker"


def run(options: Namespace, output: Output) -> int:
    """The exit code: 0 after an orderly stop, 1 if a service could not be kept up."""
    settings = with_options(current_settings(), options)
    if not options.no_api:
        check_address(settings, ", or --no-api")
    at_once: list[Callable[[], None]] = []

    def second_signal(number: int) -> None:
        for deed in reversed(at_once):
            deed()
        leave(number)

    stop = Stop()
    restore = install_stop_signals(stop, second_signal)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
        signal.signal(signal.SIGHUP, lambda *_: stop.set())  # the terminal was closed
    server = None if is_named(settings) else EmbeddedPostgres(settings.home)
    ours = server is not None and not server.is_running()
    try:
        if server is not None:
            if ours:
                at_once.append(server.stop)
            settings = replace(settings, database_url=server.start())
        durable_location(settings.database_url)  # said before anything is started
        if not await_database("start-services", settings.database_url, stop, may_upgrade=True):
            return 0
        supervisor = _supervisor(options, settings, output, stop, server if ours else None)
        at_once.append(supervisor.kill)
        return supervisor.run()
    finally:
        if server is not None and ours and server.is_running():
            output.say("Stopping the embedded PostgreSQL")
            server.stop()
        restore()


def _supervisor(
    options: Namespace, settings: Settings, output: Output, stop: Stop, server: EmbeddedPostgres | None
) -> Supervisor:
    readiness = _Readiness(settings, options.workers, with_api=not options.no_api)

    def say_ready() -> None:
        api = "" if options.no_api else f" API: http://{settings.api_host}:{settings.api_port}"
        output.say(
            f"Ready.{api} · {counted(options.workers, 'worker')} of {counted(settings.concurrency, 'task')} at a time ·"
            f" {durable_location(settings.database_url).label}. Ctrl-C stops."
        )

    supervisor = Supervisor(
        _specs(options, settings),
        output.say,
        stop,
        is_ready=lambda: readiness(supervisor.pids(_WORKER)),
        when_ready=say_ready,
        server=server,
        grace=settings.grace_seconds,
    )
    return supervisor


def _specs(options: Namespace, settings: Settings) -> list[ServiceSpec]:
    environ = {
        **settings.environ,
        "HIGHWAY_DATABASE_URL": settings.database_url,
        "USE_PG": "1",  # HIGHWAY_ENV=test would otherwise have them use SQLite
        "HIGHWAY_API_HOST": settings.api_host,
        "HIGHWAY_API_PORT": str(settings.api_port),
        "PYTHONUNBUFFERED": "1",  # what a tool prints is passed on when it prints it
    }
    worker_options = ["--concurrency", str(settings.concurrency), "--queues", ",".join(settings.queues)]
    commands = {f"{_WORKER}-{number}": ["start-worker", *worker_options] for number in range(1, options.workers + 1)}
    commands["scheduler"] = ["start-scheduler"]
    if not options.no_api:
        commands["api"] = ["start-api"]
    start = (sys.executable, str(_PROGRAM), "durable")
    more = ["-" + "v" * options.verbose] if options.verbose else []
    return [ServiceSpec(name, (*start, *command, *more, "--lifeline"), environ) for name, command in commands.items()]


class _Readiness:
    """Whether runs that are submitted now will be carried out: the workers are known, and the API says it is ready."""

    def __init__(self, settings: Settings, workers: int, *, with_api: bool) -> None:
        self._settings = settings
        self._workers = workers
        self._with_api = with_api
        self._connection = DurableConnection(settings.database_url, "highway start-services")

    def __call__(self, worker_pids: list[int]) -> bool:
        try:
            seen = self._connection.value(COUNT_SEEN, (_WORKER, socket.gethostname(), worker_pids))
        except StorageError:  # the services say it
            return False
        ready = seen == self._workers and (not self._with_api or self._api_is_ready())
        if ready:
            self._connection.close()
        return ready

    def _api_is_ready(self) -> bool:
        host = _OWN_ADDRESS.get(self._settings.api_host, self._settings.api_host)
        connection = HTTPConnection(host, self._settings.api_port, timeout=_PROBE_SECONDS)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()
