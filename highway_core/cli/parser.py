"""What may stand on the command line."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from highway_core.cli.argument_types import days, positive, run_id
from highway_core.cli.durable_parser import add_durable, joined
from highway_core.cli.inputs import parse_var

_EXIT_CODES = "exit codes: 0 completed; 1 failed or could not start; 2 bad usage; 130 stopped by Ctrl-C, 143 by SIGTERM"


def parse(arguments: list[str]) -> argparse.Namespace:
    """The options; ends the process with exit code 2, and says why, if they cannot be used."""
    parser = argparse.ArgumentParser(
        prog=Path(sys.argv[0]).name,
        description="Run workflows that are written in YAML, JSON or Python.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_run(commands)
    _add_validate(commands)
    commands.add_parser("schema", help="print the JSON Schema of a workflow document", allow_abbrev=False)
    add_durable(commands, whole="durable" in arguments)
    _add_webhooks(commands)
    return parser.parse_args(joined(arguments))


def _add_run(commands: Any) -> None:
    run = commands.add_parser("run", help="run a workflow in this process", epilog=_EXIT_CODES, allow_abbrev=False)
    run.add_argument("workflow_path", metavar="FILE", help="flow.yaml, flow.json, flow.py, or flow.py:name")
    run.add_argument(
        "--run-id",
        type=run_id,
        help="name of the run (default: cli-run-<uuid>); the same name again resumes the run, with the inputs it had",
    )
    run.add_argument(
        "--var",
        type=parse_var,
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="an input; VALUE is JSON if it can be read as JSON, else text; may be repeated, and wins over --vars-file",
    )
    run.add_argument("--vars-file", metavar="FILE", help="a YAML or JSON file of inputs")
    run.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    _add_verbose(run)


def _add_validate(commands: Any) -> None:
    validate = commands.add_parser("validate", help="check workflows without running them", allow_abbrev=False)
    validate.add_argument("workflow_paths", metavar="FILE", nargs="+", help="a workflow document")
    validate.add_argument("--json", action="store_true", help="print one JSON object and nothing else")


def _add_webhooks(commands: Any) -> None:
    webhooks = commands.add_parser("webhooks", help="deliver stored webhooks", allow_abbrev=False)
    webhooks.set_defaults(webhooks_command=None, print_help=webhooks.print_help)
    actions = webhooks.add_subparsers(dest="webhooks_command", metavar="ACTION")
    run = actions.add_parser("run", help="deliver webhooks until stopped", allow_abbrev=False)
    run.add_argument("--batch-size", type=positive, default=100, help="webhooks taken at a time (default: 100)")
    run.add_argument("--concurrency", type=positive, default=20, help="requests at the same time (default: 20)")
    _add_verbose(run)
    actions.add_parser("status", help="count webhooks by status", allow_abbrev=False)
    cleanup = actions.add_parser("cleanup", help="delete webhooks that were sent long ago", allow_abbrev=False)
    cleanup.add_argument("--days-old", type=days, default=30, help="older than this many days (default: 30)")


def _add_verbose(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-v", "--verbose", action="count", default=0, help="log what Highway does; -vv: everything, with tracebacks"
    )
