"""Reading runs, and telling them what to do: status, list, history, cancel, pause, unpause, retry."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

from flask import Response

from highway_core.api.access import caller
from highway_core.api.bodies import reply
from highway_core.api.context import ApiContext
from highway_core.api.problems import ApiError
from highway_core.api.routing import Routes
from highway_core.api.run_models import (
    CancelBody,
    HistoryAnswer,
    HistoryEvent,
    HistoryQuery,
    ListAnswer,
    ListQuery,
    MovedAnswer,
    Nothing,
    RunAnswer,
    StatusAnswer,
    StatusQuery,
    TaskAnswer,
)
from highway_core.lifecycle import RunStatus, TaskStatus
from highway_core.persistence.api_keys import Scope
from highway_core.persistence.run_reads import RunFilter, RunPosition, RunRow, TaskRow

routes = Routes()
_MOST_WAITING_SHOWN = 100


@routes.get(
    "/workflow/status/<path:run_id>",
    scope=Scope.RUNS_READ,
    summary="A run with its tasks; ?wait=30 answers when it has ended, or after 30 seconds",
    query=StatusQuery,
    answers={200: StatusAnswer},
    problems=(404,),
)
def status(context: ApiContext, run_id: str, query: StatusQuery) -> Response:
    """A task that nobody has touched yet is PENDING; iterations of loops appear when they begin."""
    context.polls.wait(context.reads.run(run_id), query.wait)
    run = context.reads.run(run_id)
    activity = context.overviews.activity(run)
    page = context.overviews.tasks(run, query.task_limit, query.task_offset)
    answer = StatusAnswer(
        **run_members(run),
        state=activity.state,
        result=run.result,
        current_step=activity.current,
        waiting_for_input=[] if run.is_over else _waiting_for_input(context, run),
        summary=context.overviews.counts(run),
        tasks=[_task(task) for task in page.tasks],
        next_task_offset=page.next_offset,
    )
    return reply(answer)


@routes.get(
    "/workflows",
    scope=Scope.RUNS_READ,
    summary="Runs, the newest first",
    query=ListQuery,
    answers={200: ListAnswer},
)
def list_runs(context: ApiContext, query: ListQuery) -> Response:
    """A page; ``cursor`` is ``next_cursor`` of the page before, with the same filters."""
    which = RunFilter(query.status, query.name, _aware(query.since), query.parent, query.tag)
    after = _position(query.cursor)
    runs = context.reads.runs(which, query.limit + 1, after)
    page, more = runs[: query.limit], len(runs) > query.limit
    answer = ListAnswer(
        workflows=[RunAnswer(**run_members(run)) for run in page],
        next_cursor=_cursor(page[-1]) if more else None,
        total_count=None if more or after is not None else len(page),
    )
    return reply(answer)


@routes.get(
    "/workflow/history/<path:run_id>",
    scope=Scope.RUNS_READ,
    summary="What has happened in a run, in order",
    query=HistoryQuery,
    answers={200: HistoryAnswer},
    problems=(404,),
)
def history(context: ApiContext, run_id: str, query: HistoryQuery) -> Response:
    """Every transition, numbered without a gap."""
    context.reads.run(run_id)
    entries = context.reads.history(run_id, query.limit + 1, query.after)
    page = entries[: query.limit]
    answer = HistoryAnswer(
        workflow_id=run_id,
        events=[
            HistoryEvent(
                seq=one.seq,
                at=one.at,
                kind=one.kind,
                task_id=one.task_id,
                from_task=one.from_task,
                attempt=one.attempt,
                worker_id=one.worker_id,
                detail=one.detail,
            )
            for one in page
        ],
        next_after=page[-1].seq if len(entries) > len(page) else None,
    )
    return reply(answer)


@routes.post(
    "/workflow/cancel/<path:run_id>",
    scope=Scope.RUNS_WRITE,
    summary="End a run: nothing new starts, what is at work is told to stop",
    body=CancelBody,
    answers={200: MovedAnswer},
    problems=(404, 409, 422),
)
def cancel(context: ApiContext, run_id: str, body: CancelBody) -> Response:
    """409 if the run is over."""
    return _moved(run_id, context.runs.cancel(run_id, caller().by, body.reason), "cancelled")


@routes.post(
    "/workflow/pause/<path:run_id>",
    scope=Scope.RUNS_WRITE,
    summary="Let nothing new start until the run is unpaused",
    body=Nothing,
    answers={200: MovedAnswer},
    problems=(404, 409, 422),
)
def pause(context: ApiContext, run_id: str, body: Nothing) -> Response:  # noqa: ARG001 - it only has to be empty
    """What is at work goes on to its end."""
    return _moved(run_id, context.runs.pause(run_id, caller().by), "paused")


@routes.post(
    "/workflow/unpause/<path:run_id>",
    scope=Scope.RUNS_WRITE,
    summary="Let a paused run go on",
    body=Nothing,
    answers={200: MovedAnswer},
    problems=(404, 409, 422),
)
def unpause(context: ApiContext, run_id: str, body: Nothing) -> Response:  # noqa: ARG001 - it only has to be empty
    """409 if it is not paused."""
    return _moved(run_id, context.runs.unpause(run_id, caller().by), "going on")


@routes.post(
    "/workflow/retry/<path:run_id>",
    scope=Scope.RUNS_WRITE,
    summary="Take a failed or cancelled run up again where it stopped",
    body=Nothing,
    answers={200: MovedAnswer},
    problems=(404, 409, 422),
)
def retry(context: ApiContext, run_id: str, body: Nothing) -> Response:  # noqa: ARG001 - it only has to be empty
    """What is completed stays completed."""
    return _moved(run_id, context.runs.retry(run_id, caller().by), "taken up again")


def run_members(run: RunRow) -> dict[str, Any]:
    """The members of RunAnswer."""
    return {
        "workflow_id": run.run_id,
        "workflow_name": run.workflow_name,
        "workflow_status": run.status,
        "mode": run.mode,
        "error": run.error_message,
        "created_at": run.created_at,
        "ended_at": run.ended_at,
        "created_by": run.created_by,
        "queue": run.queue,
        "tags": run.tags,
        "parent_workflow_id": run.parent_run_id,
        "schedule_id": run.schedule_id,
        "slot": run.slot,
    }


def _moved(run_id: str, now: RunStatus, what: str) -> Response:
    return reply(MovedAnswer(message=f"The run is {what}.", workflow_id=run_id, status=now))


def _waiting_for_input(context: ApiContext, run: RunRow) -> list[str]:
    tasks = context.reads.open_tasks(run.run_id, _MOST_WAITING_SHOWN)
    return [task.task_id for task in tasks if task.status is TaskStatus.WAITING_FOR_EVENT]


def _task(task: TaskRow) -> TaskAnswer:
    return TaskAnswer(
        task_id=task.task_id,
        status=task.status,
        error=task.error_message,
        operator_type=task.operator_type,
        attempt=task.attempt,
        started_at=task.started_at,
        completed_at=task.ended_at,
        wake_up_at=task.wake_up_at,
    )


def _aware(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment


def _cursor(run: RunRow) -> str:
    text = json.dumps([run.created_at.isoformat(), run.run_id])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _position(cursor: str | None) -> RunPosition | None:
    if cursor is None:
        return None
    try:
        moment, run_id = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        return RunPosition(_utc(datetime.fromisoformat(moment)), str(run_id).replace("\0", ""))
    except (ValueError, TypeError, OverflowError):
        detail = "Take 'next_cursor' of the page before as it is."
        raise ApiError(400, "invalid_cursor", "The cursor is not valid", detail) from None


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
