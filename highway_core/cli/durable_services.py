"""``durable start-worker | start-scheduler | start-api``: one service in this process, until a signal ends it."""

from __future__ import annotations

import logging
import signal
import socket
from argparse import Namespace
from dataclasses import replace
from importlib import import_module
from typing import Any

from highway_core.cli.durable_database import with_database
from highway_core.cli.output import Output
from highway_core.config import Settings, current_settings
from highway_core.errors import ConfigError, SchemaError, StorageError
from highway_core.services.database_gate import await_database
from highway_core.services.lifeline import follow
from highway_core.services.loop import Stop, Trouble, install_stop_signals

_log = logging.getLogger(__name__)


def run(options: Namespace, _output: Output) -> int:
    """The exit code: 0 when it was told to stop, 1 if it could not start."""
    if options.lifeline is not None:
        follow(options.lifeline)
    settings = with_options(with_database(current_settings()), options)
    match options.durable_command:
        case "start-worker":
            return _until_stopped(settings, "worker", "Worker")
        case "start-scheduler":
            return _until_stopped(settings, "scheduler", "Scheduler")
        case _:
            return _serve(settings)


def with_options(settings: Settings, options: Namespace) -> Settings:
    """The settings with what the command line says otherwise."""
    given = {
        "concurrency": getattr(options, "concurrency", None),
        "queues": getattr(options, "queues", None),
        "api_host": getattr(options, "host", None),
        "api_port": getattr(options, "port", None),
    }
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    return replace(settings, **changes)


def check_address(settings: Settings, or_else: str = "") -> None:
    """ConfigError if the API could not listen there."""
    try:
        found = socket.getaddrinfo(settings.api_host, settings.api_port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise ConfigError(
            f"The API cannot listen at '{settings.api_host}': {error.strerror}. Choose a --host."
        ) from None
    family, kind, protocol, _, address = found[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            raise ConfigError(
                f"The API cannot listen at {settings.api_host}:{settings.api_port}: {error.strerror}."
                f" Choose another --port{or_else}."
            ) from None


def _until_stopped(settings: Settings, module: str, name: str) -> int:
    service = import_module(f"highway_core.services.{module}").__dict__[name](settings)
    restore = install_stop_signals(service.stop)
    try:
        if await_database(f"The {module}", settings.database_url, service.stop):
            service.run()
    finally:
        restore()
    return 0


def _serve(settings: Settings) -> int:
    check_address(settings)
    stop = Stop()
    restore = install_stop_signals(stop)
    try:
        context = api_context(settings, stop)
    finally:
        restore()
    if context is None:
        return 0
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the server finishes its requests on KeyboardInterrupt
    try:
        import_module("highway_core.api.app").run_server(settings=settings, context=context)
    except KeyboardInterrupt:
        return 0  # it had not begun to serve
    return 0


def api_context(settings: Settings, stop: Stop) -> Any:
    """What the API works with; None if it is to stop. The database may go away between a look at it and its use."""
    wiring = import_module("highway_core.api.wiring")
    trouble = Trouble("The API", _log)
    while await_database("The API", settings.database_url, stop):
        try:
            return wiring.open_context(settings)
        except SchemaError:
            raise
        except StorageError as error:
            stop.wait(trouble.met(error))
    return None
