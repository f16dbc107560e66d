"""``webhooks run | status | cleanup``: what is done with the webhooks that the database holds."""

from __future__ import annotations

import asyncio
from argparse import Namespace

from highway_core.cli.output import Output
from highway_core.cli.signals import StopSignals
from highway_core.cli.text import columns, counted
from highway_core.persistence.database import DatabaseManager
from highway_core.persistence.webhook_status import WebhookStatus
from highway_core.services.webhook_runner import WebhookRunner


def run(options: Namespace, output: Output) -> int:
    """The exit code; a runner that was asked to stop has done its work."""
    match options.webhooks_command:
        case "run":
            _deliver(options, output)
        case "status":
            _show_status(output)
        case "cleanup":
            deleted = DatabaseManager().cleanup_completed_webhooks(options.days_old)
            output.say(f"Deleted {counted(deleted, 'webhook')} sent more than {counted(options.days_old, 'day')} ago.")
        case _:
            options.print_help()
    return 0


def _deliver(options: Namespace, output: Output) -> None:
    runner = WebhookRunner(options.batch_size, options.concurrency)

    def stop(_signal: str) -> bool:
        runner.stop()
        return False

    with StopSignals(stop):
        output.say(f"Delivering webhooks, {options.concurrency} at a time. Ctrl-C ends it.")
        asyncio.run(runner.run())
    output.say("Stopped.")


def _show_status(output: Output) -> None:
    counts = DatabaseManager().count_webhooks()
    rows = [(status.value, f"{counts.get(status, 0):,}") for status in WebhookStatus]
    output.say("\n".join(["Webhooks:", *columns([*rows, ("all", f"{sum(counts.values()):,}")])]))
