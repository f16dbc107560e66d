"""``durable cancel | pause | unpause | retry ID``: what an operator does to a run."""

from __future__ import annotations

from argparse import Namespace

from highway_core.cli.durable_clients.client import open_client
from highway_core.cli.json_report import as_text
from highway_core.cli.output import Output
from highway_core.config import current_settings


def run(options: Namespace, output: Output) -> int:
    """The exit code."""
    body = {"reason": options.reason} if options.durable_command == "cancel" and options.reason else None
    with open_client(current_settings(), options.api) as client:
        told = client.tell(options.run_id, options.durable_command, body)
    output.say(as_text(told) if options.json else f"Run {told['workflow_id']} is {told['status']}.")
    return 0
