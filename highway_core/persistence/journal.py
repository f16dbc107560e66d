"""The lines of a run's journal: what happened to a run, each as one JSON object, and back.

A line is ``{"n": 7, "created" | "taken_over" | "saved": …}``; ``n`` counts up, so that a line that a snapshot already
holds is not applied again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, assert_never

from highway_core.lifecycle import RunMode, RunStatus, TaskStatus
from highway_core.persistence.manager import (
    AttemptRecord,
    ResultRecord,
    RunChanges,
    RunRecord,
    RunUpdate,
    TaskColumns,
    TaskRecord,
)
from highway_core.persistence.rows import storable_text


@dataclass(frozen=True, slots=True)
class TakenOver:
    """The run got another owner."""

    owner: str
    status: RunStatus


Entry = RunRecord | TakenOver | RunChanges


def encode(number: int, entry: Entry) -> bytes:
    """One line, with its end. TypeError or ValueError if a value is not JSON."""
    match entry:
        case RunRecord():
            content = {"created": _record(entry)}
        case TakenOver():
            content = {"taken_over": {"owner": entry.owner, "status": entry.status}}
        case RunChanges():
            content = {"saved": _changes(entry)}
        case _:
            assert_never(entry)
    return json.dumps({"n": number, **content}, separators=(",", ":"), default=_moment).encode() + b"\n"


def decode(line: bytes) -> tuple[int, Entry]:
    """Number and entry of a line; ValueError, KeyError or TypeError if it is not one."""
    content = json.loads(line)
    number = int(content["n"])
    if "created" in content:
        return number, _record_of(content["created"])
    if "taken_over" in content:
        taken = content["taken_over"]
        return number, TakenOver(taken["owner"], RunStatus(taken["status"]))
    return number, _changes_of(content["saved"])


def _moment(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} is not JSON")


def _record(record: RunRecord) -> dict[str, Any]:
    return record._asdict() | {"variables": dict(record.variables), "inputs": dict(record.inputs)}


def _record_of(fields: Mapping[str, Any]) -> RunRecord:
    return RunRecord(
        **{
            **fields,
            "mode": RunMode(fields["mode"]),
            "status": RunStatus(fields["status"]),
            "started_at": datetime.fromisoformat(fields["started_at"]),
        }
    )


def _changes(changes: RunChanges) -> dict[str, Any]:
    """Only what there is: most saves are of one task."""
    parts: dict[str, Any] = {
        "tasks": [_task(task) for task in changes.tasks],
        "attempts": [_cleaned(attempt._asdict()) for attempt in changes.attempts],
        "results": [result._asdict() for result in changes.results],
        "memory": changes.memory,
        "idempotent": changes.idempotent,
        "run": _cleaned(changes.run._asdict()) if changes.run else None,
    }
    kept = {name: part for name, part in parts.items() if part}
    if changes.variables is not None:
        kept["variables"] = changes.variables
    return {"run_id": changes.run_id, **kept}


def _changes_of(content: Mapping[str, Any]) -> RunChanges:
    run = content.get("run")
    return RunChanges(
        run_id=content["run_id"],
        tasks=[_task_of(task) for task in content.get("tasks", ())],
        attempts=[_attempt_of(attempt) for attempt in content.get("attempts", ())],
        results=[ResultRecord(**result) for result in content.get("results", ())],
        memory=content.get("memory", {}),
        variables=content.get("variables"),
        idempotent=content.get("idempotent", {}),
        run=None if run is None else _update_of(run),
    )


def _task(task: TaskRecord) -> dict[str, Any]:
    return _cleaned(task._asdict()) | {"columns": list(task.columns)}


def _cleaned(fields: dict[str, Any]) -> dict[str, Any]:
    return fields | {"error_message": storable_text(fields["error_message"])}


def _task_of(fields: Mapping[str, Any]) -> TaskRecord:
    return TaskRecord(
        **{
            **fields,
            "columns": TaskColumns(*fields["columns"]),
            "status": TaskStatus(fields["status"]),
            "created_at": datetime.fromisoformat(fields["created_at"]),
            "started_at": _optional(fields["started_at"]),
            "completed_at": _optional(fields["completed_at"]),
            "wake_up_at": _optional(fields["wake_up_at"]),
        }
    )


def _attempt_of(fields: Mapping[str, Any]) -> AttemptRecord:
    return AttemptRecord(
        **{
            **fields,
            "status": TaskStatus(fields["status"]),
            "started_at": datetime.fromisoformat(fields["started_at"]),
            "completed_at": datetime.fromisoformat(fields["completed_at"]),
        }
    )


def _update_of(fields: Mapping[str, Any]) -> RunUpdate:
    return RunUpdate(**{**fields, "status": RunStatus(fields["status"]), "ended_at": _optional(fields["ended_at"])})


def _optional(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
