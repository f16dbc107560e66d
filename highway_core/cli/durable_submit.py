"""``durable submit FILE|NAME``: one run started, and followed to its end with ``--wait``."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from highway_core.cli.durable_clients.client import DurableClient, Json, Start, open_client
from highway_core.cli.durable_follow import FollowedRun
from highway_core.cli.given_files import check_workflow_file, read_variables
from highway_core.cli.json_report import as_text
from highway_core.cli.output import Output
from highway_core.cli.plain_progress import PlainProgress
from highway_core.cli.progress import NoProgress, Progress
from highway_core.cli.summary import task_summary
from highway_core.cli.text import first_line, indented, own_command
from highway_core.config import current_settings
from highway_core.engine.loader import SUFFIXES, as_json, read_source, split_pick
from highway_core.errors import DocumentError, Problem
from highway_core.lifecycle import RunStatus
from highway_core.utils.json_values import dumps

_RESULT_WIDTH = 1_000
_RULE = "-" * 50
_SENT = "document"
"""What the API calls a document that came with a request, in the positions of its problems."""


def run(options: Namespace, output: Output) -> int:
    """The exit code: 0 started, or completed with ``--wait``; 1 otherwise."""
    inputs = {**read_variables(options.vars_file), **dict(options.var)}
    wanted = _wanted(options, inputs)
    with open_client(current_settings(), options.api) as client:
        started = _started(client, wanted, options.workflow)
        if not options.wait:
            output.say(as_text(started) if options.json else _announcement(started))
            return 0
        if not options.json:
            output.say(f"{_announcement(started)}\n{_RULE}")
        return _follow(client, str(started["workflow_id"]), options, output)


def _started(client: DurableClient, wanted: Start, file: str) -> Json:
    try:
        return client.start(wanted)
    except DocumentError as error:
        if wanted.document is None:
            raise
        raise DocumentError([_in_file(problem, file) for problem in error.problems], file) from error


def _in_file(problem: Problem, file: str) -> Problem:
    name, colon, rest = problem.position.partition(":")
    return replace(problem, position=f"{file}:{rest}") if (name, colon) == (_SENT, ":") else problem


def _document(file: str) -> dict[str, Any] | str:
    """The document in a file, as it is sent. It is only read here: the API alone knows the tools that a worker will
    have, and tells everything that is wrong with it at once. As text, so that it tells the lines too."""
    check_workflow_file(file)
    source = read_source(file)
    return source.text or as_json(source)


def is_file(text: str) -> bool:
    """Whether FILE|NAME is a file: it exists, or is spelled like one."""
    path, _ = split_pick(text)
    return path.suffix.lower() in SUFFIXES or Path(text).is_file()


def _wanted(options: Namespace, inputs: dict[str, Any]) -> Start:
    named = not is_file(options.workflow)
    return Start(
        name=options.workflow if named else None,
        document=None if named else _document(options.workflow),
        inputs=inputs,
        run_id=options.run_id,
        key=options.key,
        priority=options.priority,
        queue=options.queue,
    )


def _announcement(started: Json) -> str:
    run_id = started["workflow_id"]
    if not started["created"]:
        return f"Run {run_id} was started before; it is {started['status']}."
    return f"Started {started['workflow_name']} as run {run_id}."


def _follow(client: DurableClient, run_id: str, options: Namespace, output: Output) -> int:
    followed = FollowedRun(client.patient(output.complain), run_id)
    try:
        told = followed.follow(_progress(options, output))
    except KeyboardInterrupt:
        output.complain(f"The run goes on. To look at it: {own_command('durable', 'status', run_id)}")
        raise
    completed = told["workflow_status"] == RunStatus.COMPLETED
    if options.json:
        output.say(as_text(told))
    else:
        output.say(
            "\n".join([_RULE, _verdict(told), *task_summary(followed), *_result(told), *_way_out(told, options)])
        )
    return 0 if completed else 1


def _progress(options: Namespace, output: Output) -> Progress:
    if options.json:
        return NoProgress()
    if output.is_terminal:
        output.limit_prints(current_settings().max_output_bytes)  # the display stands in for the streams
        live: Progress = import_module("highway_core.cli.live_progress").LiveProgress(output)
        return live
    return PlainProgress(output)


def _verdict(told: Json) -> str:
    if told["workflow_status"] == RunStatus.COMPLETED:
        return "✅ DURABLE Workflow completed successfully!"
    reason = indented(told["error"] or "no reason was given", "   ")
    return f"❌ DURABLE Workflow {told['workflow_status']}: {reason}"


def _result(told: Json) -> list[str]:
    if told["workflow_status"] != RunStatus.COMPLETED or told["result"] is None:
        return []
    return ["", f"Result: {first_line(dumps(told['result']), _RESULT_WIDTH)}"]


def _way_out(told: Json, options: Namespace) -> list[str]:
    if told["workflow_status"] == RunStatus.COMPLETED:
        return []
    api = ["--api", options.api] if options.api else []
    retry = own_command("durable", "retry", str(told["workflow_id"]), *api)
    return ["", "To go on where it stopped (what is completed is not done again):", f"   {retry}"]
