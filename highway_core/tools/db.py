"""``db.save_report``: the report of the expense workflow, in table ``reports`` of Highway's own database."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from sqlalchemy import DateTime, Engine, bindparam, text
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

from highway_core.errors import TaskError
from highway_core.tools.context import tool_settings
from highway_core.tools.database import database_errors, engine_for
from highway_core.tools.decorators import tool
from highway_core.utils.clock import utc_now

_DEFAULT_ID = "exp-123-saved"

_CREATE = text(
    "CREATE TABLE IF NOT EXISTS reports"
    " (id VARCHAR(255) PRIMARY KEY, report_json TEXT NOT NULL, saved_at TIMESTAMP WITH TIME ZONE NOT NULL)"
)
_UPSERT = text(
    "INSERT INTO reports (id, report_json, saved_at) VALUES (:id, :report_json, :saved_at)"
    " ON CONFLICT (id) DO UPDATE SET report_json = excluded.report_json, saved_at = excluded.saved_at"
).bindparams(bindparam("saved_at", type_=DateTime(timezone=True)))


@tool("db.save_report")
def save_report(report_data: Mapping[str, Any]) -> dict[str, Any]:
    """Store a report under its ``id`` (``exp-123-saved`` if it has none), over the one that was there.

    Returns a copy with the id. Saving twice leaves one row, so an attempt may be repeated.
    """
    if not isinstance(report_data, Mapping):
        raise TaskError(f"db.save_report takes a report as a mapping, not {type(report_data).__name__}.")
    report = dict(report_data)
    if report.get("id") in (None, ""):
        report["id"] = _DEFAULT_ID
    try:
        report_json = json.dumps(report, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise TaskError(f"Report '{report['id']}' cannot be stored as JSON: {error}") from error
    url = tool_settings().database_url
    if url.startswith("files:"):
        raise TaskError("db.save_report needs a database, and runs are kept in files: set HIGHWAY_DATABASE_URL.")
    engine = engine_for(url)
    with database_errors(engine):
        _save(engine, {"id": str(report["id"]), "report_json": report_json, "saved_at": utc_now()})
    return report


def _save(engine: Engine, row: dict[str, Any]) -> None:
    try:
        with engine.begin() as connection:
            connection.execute(_UPSERT, row)
    except (OperationalError, ProgrammingError):  # no such table, or something that the second time shows again
        # PostgreSQL lets two sessions run into each other here; then the other one has made the table.
        with suppress(IntegrityError, ProgrammingError), engine.begin() as connection:
            connection.execute(_CREATE)
        with engine.begin() as connection:
            connection.execute(_UPSERT, row)
