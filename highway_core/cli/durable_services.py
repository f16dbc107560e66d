"""``durable start-worker | start-scheduler | start-api``: one service in this process, until a signal ends it."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import replace
from importlib import import_module
from typing import Any

from highway_core.cli.durable_database import with_database
from highway_core.cli.output import Output
from highway_core.config import Settings, current_settings
from highway_core.services.database_gate import await_database
from highway_core.services.lifeline import follow
from highway_core.services.loop import Stop, install_stop_signals


def run(options: Namespace, output: Output) -> int:
    """The exit code: 0 when it was told to stop, 1 if it could not start."""
    if options.lifeline is not None:
        follow(options.lifeline)
    settings = with_options(with_database(current_settings()), options)
    service = options.durable_command.removeprefix("start-")
    if not _database_is_there(f"The {service}", settings):
        return 0
    match service:
        case "worker":
            import_module("highway_core.services.worker").Worker(settings).run()
        case "scheduler":
            import_module("highway_core.services.scheduler").Scheduler(settings).run()
        case "api":
            output.say(f"The API listens at http://{settings.api_host}:{settings.api_port}")
            import_module("highway_core.api.app").run_server(settings)
    return 0


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


def _database_is_there(service: str, settings: Settings) -> bool:
    """Wait for it; False if the wait was ended by a signal."""
    stop = Stop()
    restore = install_stop_signals(stop)
    try:
        return await_database(service, settings.database_url, stop)
    finally:
        restore()
