"""``durable db upgrade | current | check``: the schema of the database."""

from __future__ import annotations

from argparse import Namespace

from highway_core.cli.durable_database import with_database
from highway_core.cli.json_report import as_text
from highway_core.cli.output import Output
from highway_core.config import current_settings
from highway_core.persistence.durable_connection import durable_location
from highway_core.persistence.schema import check, current, standing, upgrade


def run(options: Namespace, output: Output) -> int:
    """The exit code: 0, or 1 if ``check`` found something."""
    url = with_database(current_settings()).database_url
    label = durable_location(url).label
    match options.db_command:
        case "upgrade":
            output.say(f"{label} has schema {upgrade(url)}.")
            return 0
        case "current":
            output.say(as_text({"schema": current(url)}) if options.json else f"{label} {standing(url)}.")
            return 0
        case _:
            return _check(url, label, output, as_json=options.json)


def _check(url: str, label: str, output: Output, *, as_json: bool) -> int:
    problems = check(url)
    if as_json:
        output.say(as_text({"schema": current(url), "problems": problems}))
    elif problems:
        output.say("\n".join([f"❌ {label} is not as it should be:", *(f"  - {problem}" for problem in problems)]))
    else:
        output.say(f"✅ {label} has the schema that this version of Highway works with.")
    return 1 if problems else 0
