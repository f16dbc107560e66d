"""Is it up, can it work, and what can it do: ``/healthz``, ``/readyz``, ``/openapi.json``."""

from __future__ import annotations

import logging

from flask import Response, current_app, request

from highway_core.api.access import authorise
from highway_core.api.bodies import Answer, reply
from highway_core.api.context import ApiContext
from highway_core.api.openapi import document_text
from highway_core.api.outages import is_news
from highway_core.api.problems import ApiError
from highway_core.api.routing import Routes, operations_of
from highway_core.errors import StorageError
from highway_core.persistence.api_keys import Scope
from highway_core.persistence.schema import require_schema

routes = Routes()
_ALIVE_SECONDS = 60.0
_STALLED_SECONDS = 60.0
_log = logging.getLogger(__name__)


class Health(Answer):
    """The process answers."""

    status: str


class Ready(Answer):
    """Whether runs that are started now will be carried out. The numbers are for callers who may read runs."""

    ready: bool
    database: bool
    work: bool
    """False: work has been lying there for a minute and no worker is alive."""
    oldest_claimable_seconds: float | None
    live_workers: int | None


@routes.get("/healthz", scope=None, summary="The process answers", answers={200: Health})
def health(context: ApiContext) -> Response:  # noqa: ARG001 - every view gets it
    """Says nothing about the database: restarting this process would not mend that."""
    return reply(Health(status="ok"))


@routes.get(
    "/readyz",
    scope=None,
    summary="The database answers, has the right schema, and somebody does the work",
    answers={200: Ready, 503: Ready},
)
def ready(context: ApiContext) -> Response:
    """503 if a run that is started now would not be carried out."""
    try:
        require_schema(context.settings.database_url)
        backlog = context.reads.backlog(_ALIVE_SECONDS)
    except StorageError as error:
        if is_news(error):
            _log.info("not ready: %s", error)
        answer = Ready(ready=False, database=False, work=False, oldest_claimable_seconds=None, live_workers=None)
        return reply(answer, 503)
    works = backlog.live_workers > 0 or backlog.oldest_claimable_seconds < _STALLED_SECONDS
    told = _may_read(context)
    answer = Ready(
        ready=works,
        database=True,
        work=works,
        oldest_claimable_seconds=backlog.oldest_claimable_seconds if told else None,
        live_workers=backlog.live_workers if told else None,
    )
    return reply(answer, 200 if works else 503)


@routes.get(
    "/openapi.json", scope=None, summary="This API as an OpenAPI 3.1 document", answers={200: "application/json"}
)
def openapi(context: ApiContext) -> Response:  # noqa: ARG001 - every view gets it
    """Made from the routes themselves."""
    text = document_text(operations_of(current_app), request.host_url)
    return Response(text, content_type="application/json")


def _may_read(context: ApiContext) -> bool:
    try:
        authorise(context, Scope.RUNS_READ)
    except ApiError:
        return False
    return True
