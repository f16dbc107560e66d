"""What may stand on the command line after ``durable``."""

from __future__ import annotations

import argparse
from typing import Any

from highway_core.cli.argument_types import (
    event_name,
    idempotency_key,
    json_value,
    moment,
    names,
    new_run_id,
    port,
    positive,
    queue_name,
    rate,
    run_id,
)
from highway_core.cli.inputs import parse_var

_EXIT_CODES = "exit codes: 0 done, or the run completed; 1 failed or could not be done; 2 bad usage"
_RUN_DEEDS = {
    "cancel": "end a run; what it waits for is given up",
    "pause": "start nothing new in a run",
    "unpause": "let a paused run go on",
    "retry": "do the failed tasks of a run again",
}

_WITH_IDS = ("--approval", "--token")
_SCHEDULE_DEEDS = {
    "pause": "start nothing more",
    "unpause": "go on",
    "remove": "forget it; its runs stay",
    "trigger": "start a run at once, beside its times",
}


def add_durable(commands: Any, *, whole: bool) -> None:
    """The group; with its actions only if ``whole``, which takes a moment that ``run`` should not pay for."""
    durable = commands.add_parser(
        "durable", help="run workflows on PostgreSQL: services, runs, decisions", allow_abbrev=False, epilog=_EXIT_CODES
    )
    if not whole:
        return
    actions = durable.add_subparsers(dest="durable_command", metavar="ACTION", required=True)
    _add_services(actions)
    _add_submit(actions)
    _add_reading(actions)
    _add_deeds(actions)
    _add_answers(actions)
    _add_database(actions)
    _add_keys(actions)
    _add_schedules(actions)
    _add_limits(actions)


def joined(arguments: list[str]) -> list[str]:
    """The arguments with random ids bound to their options: one in 64 begins with ``-`` and looks like an option."""
    if arguments[:2] != ["durable", "resume"]:
        return arguments
    found: list[str] = []
    for word in arguments:
        if found and found[-1] in _WITH_IDS:
            found[-1] += f"={word}"
        else:
            found.append(word)
    return found


def _add_services(actions: Any) -> None:
    together = _action(actions, "start-services", "start workers, a scheduler and the API, and keep them up")
    together.add_argument("--workers", type=positive, default=1, metavar="N", help="worker processes (default: 1)")
    together.add_argument("--no-api", action="store_true", help="without the API")
    worker = _action(actions, "start-worker", "start one worker")
    for parser in (together, worker):
        parser.add_argument("--concurrency", type=positive, metavar="N", help="tasks at the same time in a worker")
        parser.add_argument("--queues", type=names, metavar="a,b", help="the queues that a worker serves")
    scheduler = _action(actions, "start-scheduler", "start one scheduler; several are safe")
    api = _action(actions, "start-api", "start the HTTP API")
    for parser in (together, api):
        parser.add_argument("--host", help="the address to listen at (default: 127.0.0.1)")
        parser.add_argument("--port", type=port, help="the port to listen at (default: 5000)")
    health = _action(actions, "health", "exit with 1 unless this host's service was heard of in the last minute")
    health.add_argument("service", choices=("worker", "scheduler"))
    for parser in (worker, scheduler, api):
        parser.add_argument("--lifeline", type=positive, help=argparse.SUPPRESS)


def _add_submit(actions: Any) -> None:
    submit = _client_action(actions, "submit", "start a run")
    submit.add_argument("workflow", metavar="FILE|NAME", help="a document, or the name of a registered workflow")
    _add_inputs(submit)
    submit.add_argument(
        "--run-id", type=new_run_id, help="name of the run; the same name and inputs again: the same run"
    )
    submit.add_argument(
        "--key", type=idempotency_key, metavar="TEXT", help="an idempotency key: used again, it means the same run"
    )
    submit.add_argument("--priority", type=int, default=0, metavar="N", help="the highest is served first (default: 0)")
    submit.add_argument(
        "--queue", type=queue_name, metavar="NAME", help="where its tasks are queued (default: default)"
    )
    submit.add_argument("--wait", action="store_true", help="follow the run to its end; its end is the exit code")


def _add_reading(actions: Any) -> None:
    status = _client_action(actions, "status", "one run and its tasks")
    history = _client_action(actions, "history", "everything that happened in a run, in order")
    for parser in (status, history):
        parser.add_argument("run_id", metavar="ID", type=run_id)
    listing = _client_action(actions, "list", "runs, the newest first")
    listing.add_argument("--status", metavar="STATUS", help="only runs with this status, as in failed")
    listing.add_argument("--name", metavar="NAME", help="only runs of this workflow")
    listing.add_argument("--tag", metavar="TAG", help="only runs whose document has this tag")
    listing.add_argument("--limit", type=positive, default=20, metavar="N", help="at most so many (default: 20)")


def _add_deeds(actions: Any) -> None:
    for name, text in _RUN_DEEDS.items():
        deed = _client_action(actions, name, text)
        deed.add_argument("run_id", metavar="ID", type=run_id)
        if name == "cancel":
            deed.add_argument("--reason", default="", metavar="TEXT", help="why; stands in the history")


def _add_answers(actions: Any) -> None:
    resume = _client_action(actions, "resume", "take a decision that a run waits for")
    which = resume.add_mutually_exclusive_group(required=True)
    which.add_argument("--token", metavar="T", help="the token of the link")
    which.add_argument("--approval", metavar="ID", help="the id that 'durable approvals' shows")
    resume.add_argument(
        "--decision", required=True, metavar="WORD", help="APPROVED, DENIED, or a choice of the request"
    )
    resume.add_argument("--comment", default="", metavar="TEXT", help="why; stands beside the decision")
    approvals = _client_action(actions, "approvals", "the decisions that are waited for")
    approvals.add_argument("--limit", type=positive, default=100, metavar="N", help="at most so many (default: 100)")
    emit = _client_action(actions, "emit", "emit an event; runs that wait for it go on")
    emit.add_argument("name", metavar="NAME", type=event_name)
    emit.add_argument("--payload", type=json_value, default=None, metavar="JSON", help="what the event says")


def _add_database(actions: Any) -> None:
    inner = _group(actions, "db", "the schema of the database")
    _action(inner, "upgrade", "bring it to the newest")
    for name, text in (("current", "say which one it is"), ("check", "exit with 1 unless it is the newest")):
        _action(inner, name, text).add_argument("--json", action="store_true", help="print one JSON object")


def _add_keys(actions: Any) -> None:
    inner = _group(actions, "keys", "the keys of the API")
    create = _json_action(inner, "create", "make a key; it is shown once")
    create.add_argument("name", metavar="NAME", help="whose key it is")
    create.add_argument("--scopes", type=names, metavar="a,b", help="what it may do (default: everything)")
    create.add_argument("--days", type=positive, metavar="N", help="valid for so many days (default: for ever)")
    _json_action(inner, "list", "the keys that there are")
    revoke = _json_action(inner, "revoke", "make a key useless")
    revoke.add_argument("key_id", metavar="ID")


def _add_schedules(actions: Any) -> None:
    inner = _group(actions, "schedule", "runs that start by the clock")
    add = _json_action(inner, "add", "start runs of a workflow by the clock; replaces a schedule of the same id")
    add.add_argument("workflow", metavar="FILE", help="a document; 'schedule' in it says when, or --schedule")
    add.add_argument("--id", metavar="ID", help="name of the schedule (default: that of the workflow)")
    add.add_argument("--schedule", metavar="CRON", help="'0 9 * * 1-5' or '@every 30m' (default: the document's)")
    add.add_argument("--timezone", metavar="ZONE", help="as in Europe/Berlin (default: UTC)")
    add.add_argument("--start-date", type=moment, metavar="MOMENT", help="nothing starts before it")
    add.add_argument("--catchup", action="store_true", default=None, help="also start what should have been before now")
    add.add_argument("--max-active-runs", type=positive, metavar="N", help="at most so many at a time (default: 1)")
    _add_inputs(add)
    _json_action(inner, "list", "the schedules that there are")
    for name, text in _SCHEDULE_DEEDS.items():
        _json_action(inner, name, text).add_argument("schedule_id", metavar="ID")


def _add_limits(actions: Any) -> None:
    inner = _group(actions, "limits", "how much is carried out at once, and how fast")
    setting = _json_action(inner, "set", "limit a queue, or all runs of a workflow together")
    removing = _json_action(inner, "remove", "take a limit away")
    for parser in (setting, removing):
        parser.add_argument("scope", choices=("queue", "workflow"))
        parser.add_argument("name", metavar="NAME")
    setting.add_argument("--max-running", type=positive, metavar="N", help="so many tasks at once, over all workers")
    setting.add_argument("--rate", type=rate, metavar="R", help="so many tasks started a second")
    _json_action(inner, "list", "the limits that there are")


def _add_inputs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--var",
        type=parse_var,
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="an input; VALUE is JSON if it can be read as JSON, else text; may be repeated, and wins over --vars-file",
    )
    parser.add_argument("--vars-file", metavar="FILE", help="a YAML or JSON file of inputs")


def _group(actions: Any, name: str, text: str) -> Any:
    group = actions.add_parser(name, help=text, allow_abbrev=False)
    return group.add_subparsers(dest=f"{name}_command", metavar="ACTION", required=True)


def _client_action(actions: Any, name: str, text: str) -> argparse.ArgumentParser:
    """Something that is asked of the API or of the database."""
    parser = _json_action(actions, name, text)
    parser.add_argument(
        "--api", metavar="URL", help="ask this API (default: HIGHWAY_API_ENDPOINT, else straight to the database)"
    )
    return parser


def _json_action(actions: Any, name: str, text: str) -> argparse.ArgumentParser:
    parser = _action(actions, name, text)
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else")
    return parser


def _action(actions: Any, name: str, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=text, allow_abbrev=False, epilog=_EXIT_CODES)
    parser.add_argument(
        "-v", "--verbose", action="count", default=0, help="log what Highway does; -vv: everything, with tracebacks"
    )
    return parser
