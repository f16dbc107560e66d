"""``durable resume | approvals | emit``: what runs wait for from outside."""

from __future__ import annotations

from argparse import Namespace

from highway_core.cli.durable_clients.client import DurableClient, Json, open_client
from highway_core.cli.json_report import as_text
from highway_core.cli.output import Output
from highway_core.cli.text import columns, counted, first_line, printable
from highway_core.config import current_settings

_PROMPT_WIDTH = 70


def run(options: Namespace, output: Output) -> int:
    """The exit code."""
    with open_client(current_settings(), options.api) as client:
        match options.durable_command:
            case "resume":
                _resume(client, options, output)
            case "approvals":
                _approvals(client, options, output)
            case _:
                _emit(client, options, output)
    return 0


def _resume(client: DurableClient, options: Namespace, output: Output) -> None:
    if options.token is not None:
        told = client.decide_by_token(options.token, options.decision, options.comment)
    else:
        told = client.decide(options.approval, options.decision, options.comment)
    if options.json:
        output.say(as_text(told))
    else:
        task = f"{printable(str(told['task_id']))} of run {printable(str(told['workflow_id']))}"
        output.say(f"{options.decision}: {task} goes on.")


def _approvals(client: DurableClient, options: Namespace, output: Output) -> None:
    found = client.approvals(options.limit)
    if options.json:
        output.say(as_text(found))
    elif not found:
        output.say("Nobody is waited for.")
    else:
        output.say("\n".join(columns([("Id", "Run", "Task", "Who", "Until (UTC)", "Question"), *map(_row, found)], "")))


def _emit(client: DurableClient, options: Namespace, output: Output) -> None:
    told = client.emit(options.name, options.payload)
    if options.json:
        output.say(as_text(told))
    else:
        waiting = counted(int(told["delivered"]), "waiting task")
        output.say(f"Emitted {printable(options.name)}: {waiting} got it. Who waits for it later finds it.")


def _row(approval: Json) -> tuple[str, ...]:
    until = str(approval["expires_at"] or "")[:16].replace("T", " ") or "-"
    names = (approval["key"], approval["workflow_id"], approval["task_id"], approval["assignee"])
    return (*(printable(str(name)) for name in names), until, first_line(approval["prompt"], _PROMPT_WIDTH))
