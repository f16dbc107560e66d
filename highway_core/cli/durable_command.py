"""``durable …``: which module carries an action out. Each is imported when it was chosen."""

from __future__ import annotations

from argparse import Namespace
from importlib import import_module

from highway_core.cli.output import Output

_MODULES = {
    "start-services": "durable_together",
    "start-worker": "durable_services",
    "start-scheduler": "durable_services",
    "start-api": "durable_services",
    "health": "durable_health",
    "submit": "durable_submit",
    "status": "durable_runs",
    "history": "durable_runs",
    "list": "durable_runs",
    "cancel": "durable_deeds",
    "pause": "durable_deeds",
    "unpause": "durable_deeds",
    "retry": "durable_deeds",
    "resume": "durable_answers",
    "approvals": "durable_answers",
    "emit": "durable_answers",
    "db": "durable_db",
    "keys": "durable_keys",
    "schedule": "durable_schedules",
    "limits": "durable_limits",
}


def run(options: Namespace, output: Output) -> int:
    """The exit code: 0 done, 1 failed or could not be done."""
    module = import_module(f"highway_core.cli.{_MODULES[options.durable_command]}")
    code: int = module.run(options, output)
    return code
