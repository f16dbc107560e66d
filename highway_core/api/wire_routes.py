"""The rest of the protocol that the published clients speak, under ``/api/v1``; starts are in ``start_routes``."""

from __future__ import annotations

import io
import zipfile

from flask import Response, request

from highway_core.api.access import caller
from highway_core.api.bodies import reply
from highway_core.api.context import ApiContext
from highway_core.api.problems import ApiError
from highway_core.api.routing import Routes
from highway_core.api.run_models import (
    ArtifactAnswer,
    CancelBody,
    Wait,
    WireProgress,
    WireStatus,
    WireStatusData,
)
from highway_core.persistence.api_keys import Scope
from highway_core.persistence.artifact_store import ArtifactStore
from highway_core.tools.artifacts import MAX_BYTES

routes = Routes()
_ROOM_FOR_THE_FORM = 64 * 1024
_MOST_PARTS = 10


@routes.get(
    "/api/v1/workflows/<path:run_id>",
    scope=Scope.RUNS_READ,
    summary="A run (published clients); ?wait=30 answers when it has ended, or after 30 seconds",
    query=Wait,
    answers={200: WireStatus},
    problems=(404,),
)
def status(context: ApiContext, run_id: str, query: Wait) -> Response:
    """``state`` and ``status`` are the same word."""
    context.polls.wait(context.reads.run(run_id), query.wait)
    return _status(context, run_id)


@routes.post(
    "/api/v1/workflows/<path:run_id>/cancel",
    scope=Scope.RUNS_WRITE,
    summary="End a run (published clients)",
    body=CancelBody,
    answers={200: WireStatus},
    problems=(404, 409, 422),
)
def cancel(context: ApiContext, run_id: str, body: CancelBody) -> Response:
    """409 if it is over."""
    context.runs.cancel(run_id, caller().by, body.reason)
    return _status(context, run_id)


@routes.post(
    "/api/v1/artifacts",
    scope=Scope.ARTIFACTS_WRITE,
    summary="Upload a ZIP of Python packages; the same bytes have the same id",
    answers={200: ArtifactAnswer},
    problems=(422,),
    upload="artifact",
)
def upload(context: ApiContext) -> Response:
    """Its functions are called by ``tools.python.run``."""
    request.max_content_length = MAX_BYTES + _ROOM_FOR_THE_FORM
    request.max_form_parts = _MOST_PARTS
    if request.mimetype != "multipart/form-data":
        detail = "This takes a multipart form with the file in its field 'artifact'."
        raise ApiError(415, "unsupported_media_type", "Unsupported media type", detail)
    sent = request.files.get("artifact")
    if sent is None or len(request.files) != 1:
        raise ApiError(422, "invalid_body", "The form is not valid", "One file is wanted, in the field 'artifact'.")
    content = sent.stream.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ApiError(413, "body_too_large", "The body is too large", f"An artifact may have {MAX_BYTES:,} bytes.")
    if not zipfile.is_zipfile(io.BytesIO(content)):
        raise ApiError(422, "invalid_artifact", "This is no artifact", "An artifact is a ZIP file of Python packages.")
    artifact_id = ArtifactStore(context.pool).put(content)
    return reply(ArtifactAnswer(artifact_id=artifact_id, size=len(content)))


def _status(context: ApiContext, run_id: str) -> Response:
    run = context.reads.run(run_id)
    activity = context.overviews.activity(run)
    data = WireStatusData(
        workflow_run_id=run.run_id,
        workflow_name=run.workflow_name,
        state=activity.state,
        status=activity.state,
        result=run.result,
        current_step=activity.current,
        progress=WireProgress(completed=activity.ended, total=activity.total),
        error=run.error_message,
        created_at=run.created_at,
        completed_at=run.ended_at,
    )
    return reply(WireStatus(data=data))
