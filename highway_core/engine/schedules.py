"""Schedules in documents: cron expressions and ``@every 30m``, checked when the document is read."""

from __future__ import annotations

from highway_core.engine.models import WorkflowModel
from highway_core.engine.report import Report


def check_schedule(model: WorkflowModel, report: Report) -> None:
    """Report a schedule that is neither a cron expression nor an interval."""
    text = model.schedule
    if text is None:
        return
    from highway_core.engine.cron_slots import check_expression  # noqa: PLC0415 - only a document with one pays for it

    try:
        check_expression(text)
    except ValueError as error:
        report.add(("schedule",), f"bad schedule {text!r}: {error}", "as in '0 6 * * 1-5' or '@every 30m'")
