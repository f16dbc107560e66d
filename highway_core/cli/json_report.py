"""The one JSON object that ``--json`` prints instead of everything else."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from typing import Any

from highway_core.cli.progress import TaskLine
from highway_core.cli.task_log import TaskLog
from highway_core.engine.engine import summary
from highway_core.engine.run import Run
from highway_core.errors import DocumentError
from highway_core.lifecycle import RunStatus
from highway_core.utils.json_values import clean_text


def run_report(run: Run, log: TaskLog) -> dict[str, Any]:
    """A run that is over, with every task of it."""
    return {**summary(run), "workflow_name": run.compiled.model.name, "tasks": [_task(line) for line in log.ended]}


def error_report(error: BaseException, message: str, run_id: str | None) -> dict[str, Any]:
    """A run that did not start, or that the store gave up."""
    report: dict[str, Any] = {
        "status": RunStatus.FAILED.value,
        "workflow_id": run_id,
        "error": clean_text(message),
        "result": None,
        "tasks": [],
    }
    if isinstance(error, DocumentError):
        report["problems"] = [asdict(problem) for problem in error.problems]
    return report


def as_text(report: Any) -> str:
    """JSON, two spaces deep, readable in any encoding."""
    return json.dumps(report, indent=2)


def _task(line: TaskLine) -> dict[str, Any]:
    return {
        "task_id": line.path,
        "operator_type": line.operator_type,
        "status": line.status.value,
        "attempt": line.attempt,
        "started_at": _moment(line.started_at),
        "completed_at": _moment(line.ended_at),
        "seconds": line.seconds,
        "error": line.error,
    }


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
