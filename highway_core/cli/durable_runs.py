"""``durable status | list | history``: runs as they stand, and what happened in them."""

from __future__ import annotations

from argparse import Namespace
from datetime import datetime
from typing import Any

from highway_core.cli.durable_clients.client import DurableClient, Json, open_client
from highway_core.cli.json_report import as_text
from highway_core.cli.output import Output
from highway_core.cli.plain_progress import MARKS
from highway_core.cli.text import columns, counted, first_line, indented, printable, seconds_text
from highway_core.config import current_settings
from highway_core.errors import ConfigError
from highway_core.lifecycle import RunStatus, TaskStatus
from highway_core.utils.clock import utc_now
from highway_core.utils.json_values import dumps
from highway_core.utils.naming import did_you_mean

_TASKS = 1_000
_WIDTH = 100
_RESULT_WIDTH = 1_000
_USUAL_QUEUE = "default"


def run(options: Namespace, output: Output) -> int:
    """The exit code: 0 if there was something to show it of."""
    with open_client(current_settings(), options.api) as client:
        match options.durable_command:
            case "status":
                _status(client, options, output)
            case "history":
                _history(client, options, output)
            case _:
                _list(client, options, output)
    return 0


def _status(client: DurableClient, options: Namespace, output: Output) -> None:
    told = client.status(options.run_id, tasks=_TASKS)
    if options.json:
        output.say(as_text(told))
        return
    lines = [f"{printable(told['workflow_name'])}  {told['workflow_id']}", f"   {_standing(told)}"]
    if told["error"]:
        lines.append(f"   {indented(told['error'], '   ')}")
    tasks = told["tasks"]
    if tasks:
        lines += ["", *columns([("Task", "Status", "Attempt", "Time", "Note"), *map(_task, tasks)])]
    if told["next_task_offset"] is not None:
        lines.append(f"   … and {counted(sum(told['summary'].values()) - len(tasks), 'more task')}")
    if told["result"] is not None:
        lines += ["", f"Result: {first_line(dumps(told['result']), _RESULT_WIDTH)}"]
    output.say("\n".join(lines))


def _list(client: DurableClient, options: Namespace, output: Output) -> None:
    runs = client.runs(options.limit, status=_run_status(options.status), name=options.name, tag=options.tag)
    if options.json:
        output.say(as_text(runs))
    elif not runs:
        narrowed = options.status or options.name or options.tag
        output.say("There are no such runs." if narrowed else "There are no runs yet.")
    else:
        output.say("\n".join(columns([("Run", "Workflow", "Status", "Started (UTC)", "Took"), *map(_run, runs)], "")))


def _run(one: Json) -> tuple[str, ...]:
    started, ended = one["created_at"], one["ended_at"]
    name = printable(one["workflow_name"])
    return one["workflow_id"], name, one["workflow_status"], _clock(started), _took(started, ended)


def _history(client: DurableClient, options: Namespace, output: Output) -> None:
    events = client.history(options.run_id)
    if options.json:
        output.say(as_text(list(events)))
        return
    for event in events:  # as they come: a long history is long
        output.say(_entry(event))


def _standing(told: Json) -> str:
    parts = [f"{told['workflow_status']} ({told['state']})"]
    if told["workflow_status"] in (told["state"], RunStatus.PENDING):
        parts = [told["workflow_status"]]
    if told["queue"] != _USUAL_QUEUE:
        parts.append(f"queue {told['queue']}")
    parts.append(f"started {_clock(told['created_at'])} UTC")
    if told["ended_at"]:
        parts.append(f"took {_took(told['created_at'], told['ended_at'])}")
    if told["current_step"]:
        parts.append(f"at {printable(told['current_step'])}")
    return ", ".join(parts)


def _task(task: dict[str, Any]) -> tuple[str, str, str, str, str]:
    mark = MARKS.get(TaskStatus(task["status"]), "…")
    note = first_line(task["error"] or "", _WIDTH)
    if task["wake_up_at"] and not task["completed_at"]:
        note = f"until {_clock(task['wake_up_at'])} UTC" + (f", {note}" if note else "")
    attempt = str(task["attempt"]) if task["attempt"] else "-"
    name = f"{mark} {first_line(task['task_id'], _WIDTH)}"
    return name, task["status"], attempt, _took(task["started_at"], task["completed_at"]), note


def _entry(event: dict[str, Any]) -> str:
    task = f"  {printable(event['task_id'])}" if event["task_id"] else ""
    notes = []
    if event["from_task"]:
        notes.append(f"after {printable(event['from_task'])}")
    if (event["attempt"] or 0) > 1:
        notes.append(f"attempt {event['attempt']}")
    if event["detail"]:
        notes.append(first_line(event["detail"], _WIDTH))
    said = f"  ({', '.join(notes)})" if notes else ""
    return f"{event['seq']:>6}  {_clock(event['at'], exact=True)}  {event['kind']:<24}{task}{said}"


def _run_status(word: str | None) -> str | None:
    """The status as it is stored, however it is spelled; ConfigError if there is none like it."""
    if word is None:
        return None
    known = {status.value.lower(): status.value for status in RunStatus}
    if word.lower() not in known:
        hint = did_you_mean(word.lower(), known) or f"there are {', '.join(known)}."
        raise ConfigError(f"No run has the status '{word}'; {hint}")
    return known[word.lower()]


def _clock(text: str, *, exact: bool = False) -> str:
    moment = datetime.fromisoformat(text)
    return moment.strftime("%Y-%m-%d %H:%M:%S") + (f".{moment.microsecond // 1000:03}" if exact else "")


def _took(start: str | None, end: str | None) -> str:
    if start is None:
        return "-"
    until = datetime.fromisoformat(end) if end else utc_now()
    return seconds_text(max(0.0, (until - datetime.fromisoformat(start)).total_seconds())) + ("" if end else " …")
