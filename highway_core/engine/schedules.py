"""Schedules in documents: cron expressions and ``@every 30m``, checked when the document is read."""

from __future__ import annotations

from datetime import UTC, datetime

from highway_core.engine.models import WorkflowModel
from highway_core.engine.report import Report
from highway_core.utils.durations import parse_interval


def check_schedule(model: WorkflowModel, report: Report) -> None:
    """Report a schedule that is neither a cron expression nor an interval."""
    text = model.schedule
    if text is None:
        return
    try:
        if text.startswith("@every"):
            parse_interval(text)
        else:
            _parse_cron(text)
    except ValueError as error:
        report.add(("schedule",), f"bad schedule {text!r}: {error}", "as in '0 6 * * 1-5' or '@every 30m'")


_ALIASES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_ANY_MOMENT = datetime(2024, 1, 1, tzinfo=UTC)


def _parse_cron(text: str) -> None:
    from cronsim import CronSim, CronSimError  # noqa: PLC0415 - only a document with a schedule pays for it

    try:
        CronSim(_ALIASES.get(text, text), _ANY_MOMENT)
    except CronSimError as error:
        raise ValueError(str(error)) from error
