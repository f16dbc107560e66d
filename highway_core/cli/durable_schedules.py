"""``durable schedule add | list | pause | unpause | remove | trigger``: runs that start by the clock."""

from __future__ import annotations

from argparse import Namespace
from datetime import datetime
from typing import Any

from highway_core.cli.durable_database import with_database
from highway_core.cli.given_files import check_workflow_file, read_variables
from highway_core.cli.json_report import as_text
from highway_core.cli.output import Output
from highway_core.cli.text import columns, printable
from highway_core.cli.who import logged_in
from highway_core.config import Settings, current_settings
from highway_core.engine.graph import CompiledWorkflow
from highway_core.engine.loader import compile_document, read_source
from highway_core.persistence.schedule_store import Schedule
from highway_core.services.schedules import Schedules, open_schedules
from highway_core.services.slot_starts import SLOT_INPUTS
from highway_core.tools.registry import ToolRegistry
from highway_core.utils.clock import utc_now

_GIVEN = ("schedule", "start_date", "catchup", "max_active_runs")
"""Keys of a document that an option replaces."""


def run(options: Namespace, output: Output) -> int:
    """The exit code."""
    settings = with_database(current_settings())
    schedules = open_schedules(settings)
    try:
        match options.schedule_command:
            case "add":
                _add(schedules, options, output, settings)
            case "list":
                _list(schedules, output, as_json=options.json)
            case "trigger":
                _trigger(schedules, options, output)
            case deed:
                getattr(schedules, deed)(options.schedule_id)
                told = {"schedule_id": options.schedule_id, "done": deed}
                output.say(as_text(told) if options.json else f"Schedule {printable(options.schedule_id)}: {deed}d.")
    finally:
        schedules.close()
    return 0


def _add(schedules: Schedules, options: Namespace, output: Output, settings: Settings) -> None:
    inputs = {**read_variables(options.vars_file), **dict(options.var)}
    made = schedules.register(
        _workflow(options, inputs, settings),
        schedule_id=options.id,
        inputs=inputs,
        **({"timezone": options.timezone} if options.timezone else {}),
    )
    if options.json:
        output.say(as_text(_as_dict(made)))
    else:
        output.say(f"Schedule {made.schedule_id} ({made.expression}, {made.timezone}). Next run: {_next(made)}")


def _trigger(schedules: Schedules, options: Namespace, output: Output) -> None:
    run_id = schedules.trigger(options.schedule_id, f"local:{logged_in()}")
    told = {"schedule_id": options.schedule_id, "workflow_id": run_id}
    output.say(as_text(told) if options.json else f"Started run {run_id}.")


def _workflow(options: Namespace, inputs: dict[str, Any], settings: Settings) -> CompiledWorkflow:
    given = {name: getattr(options, name) for name in _GIVEN if getattr(options, name) is not None}
    if isinstance(given.get("start_date"), datetime):
        given["start_date"] = given["start_date"].isoformat()
    names = {*inputs, *SLOT_INPUTS}
    check_workflow_file(options.workflow)
    return compile_document(read_source(options.workflow), ToolRegistry(settings), names, given)[0]


def _list(schedules: Schedules, output: Output, *, as_json: bool) -> None:
    found = schedules.all()
    if as_json:
        output.say(as_text([_as_dict(one) for one in found]))
    elif not found:
        output.say("There are no schedules.")
    else:
        head = ("Id", "Workflow", "When", "Zone", "Next", "Runs now")
        output.say("\n".join(columns([head, *map(_row, found)], "")))


def _row(one: Schedule) -> tuple[str, ...]:
    name = printable(one.workflow_name)
    return one.schedule_id, name, one.expression, one.timezone, _next(one), str(one.active_runs)


def _as_dict(one: Schedule) -> dict[str, Any]:
    return {
        "schedule_id": one.schedule_id,
        "workflow_name": one.workflow_name,
        "schedule": one.expression,
        "timezone": one.timezone,
        "inputs": dict(one.inputs),
        "paused": one.paused,
        "catchup": one.catchup,
        "max_active_runs": one.max_active_runs,
        "active_runs": one.active_runs,
        "start_date": _moment(one.start_date),
        "next_slot": _moment(one.next_slot),
        "last_slot": _moment(one.last_slot),
    }


def _next(one: Schedule) -> str:
    """When it starts a run. A slot that has come waits for a Scheduler, or for the runs that there are to end."""
    if one.paused:
        return "paused"
    if one.next_slot is None:
        return "never"
    text = one.next_slot.strftime("%Y-%m-%d %H:%M UTC")
    return f"due since {text}" if one.next_slot <= utc_now() else text


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
