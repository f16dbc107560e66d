"""Decisions over HTTP: the routes of links (``approval_links`` has what they do) and those of who has a key."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Final

from flask import Flask, Response

from highway_core.api.access import caller
from highway_core.api.approval_links import LinkViews
from highway_core.api.approval_models import (
    ApprovalData,
    ApprovalList,
    CommentBody,
    DecideBody,
    Decided,
    LinkQuery,
    ListQuery,
    ReceiptQuery,
    answer_of,
)
from highway_core.api.approval_page import moment_text
from highway_core.api.approval_problems import refusal_problem
from highway_core.api.bodies import reply
from highway_core.api.context import ApiContext
from highway_core.api.problems import ApiError, not_found
from highway_core.api.routing import Routes
from highway_core.persistence.api_keys import Scope
from highway_core.persistence.approval_store import Approval, ApprovalStore, DecisionRefusedError

_API_PROBLEMS: Final = (400, 404, 409, 410)
routes = Routes()


def register_approvals(app: Flask, context: ApiContext) -> None:
    """Add the routes and what they keep in this process."""
    links, desk = LinkViews(context), Routes()
    app.jinja_env.filters["moment"] = moment_text
    pages = (200, 400, 404, 409, 410, 429)
    declared = {"scope": None, "query": LinkQuery, "answers": {200: Decided}}
    desk.get(
        "/workflow/resume",
        summary="The page of a decision; with Accept: application/json, and only then, it decides",
        problems=(400, 404, 409, 410, 429),
        pages=pages,
        **declared,
    )(links.look)
    desk.post(
        "/workflow/resume",
        summary="Decide by token, as JSON or by the page's form",
        problems=(400, 404, 409, 410, 413, 415, 422, 429),
        pages=(*pages, 303, 403),
        **declared,
    )(links.decide)
    desk.get(
        "/workflow/decided",
        scope=None,
        summary="The page that a decision leads to",
        query=ReceiptQuery,
        answers={200: "text/html"},
        problems=(404,),
        pages=(404,),
    )(links.decided)
    desk.register(app, context)
    routes.register(app, context)


@routes.get(
    "/api/v1/approvals",
    scope=Scope.APPROVALS_READ,
    summary="The decisions that are waited for, the oldest first",
    query=ListQuery,
    answers={200: ApprovalList},
)
def list_open(context: ApiContext, query: ListQuery) -> Response:
    """A page; ``cursor`` is ``next_cursor`` of the page before, with the same filters."""
    found = ApprovalStore(context.pool).open(
        run_id=query.workflow_id, assignee=query.assignee, after=_position(query.cursor), limit=query.limit + 1
    )
    page = found[: query.limit]
    cursor = _cursor(page[-1]) if len(found) > query.limit else None
    return reply(ApprovalList(data=[answer_of(one) for one in page], next_cursor=cursor))


@routes.get(
    "/api/v1/approvals/<key>",
    scope=Scope.APPROVALS_READ,
    summary="One approval, open or not",
    answers={200: ApprovalData},
)
def show(context: ApiContext, key: str) -> Response:
    """As it stands."""
    approval = ApprovalStore(context.pool).by_id(key)
    if approval is None:
        raise _no_approval(key)
    return reply(ApprovalData(data=answer_of(approval)))


@routes.post(
    "/api/v1/approvals/<key>/approve",
    scope=Scope.APPROVALS_DECIDE,
    summary="Decide APPROVED",
    body=CommentBody,
    answers={200: ApprovalData},
    problems=_API_PROBLEMS,
)
def approve(context: ApiContext, key: str, body: CommentBody) -> Response:
    """409 with the decision that stands if there is one."""
    return _decide(context, key, "APPROVED", body.comment)


@routes.post(
    "/api/v1/approvals/<key>/reject",
    scope=Scope.APPROVALS_DECIDE,
    summary="Decide DENIED",
    body=CommentBody,
    answers={200: ApprovalData},
    problems=_API_PROBLEMS,
)
def reject(context: ApiContext, key: str, body: CommentBody) -> Response:
    """409 with the decision that stands if there is one."""
    return _decide(context, key, "DENIED", body.comment)


@routes.post(
    "/api/v1/approvals/<key>/decide",
    scope=Scope.APPROVALS_DECIDE,
    summary="Decide for one of the approval's choices",
    body=DecideBody,
    answers={200: ApprovalData},
    problems=_API_PROBLEMS,
)
def decide(context: ApiContext, key: str, body: DecideBody) -> Response:
    """409 with the decision that stands if there is one."""
    return _decide(context, key, body.decision, body.comment)


def _decide(context: ApiContext, key: str, decision: str, comment: str | None) -> Response:
    try:
        taken = ApprovalStore(context.pool).decide(key, decision, by=caller().by, via="api", comment=comment)
    except KeyError:
        raise _no_approval(key) from None
    except DecisionRefusedError as refused:
        raise refusal_problem(refused) from None
    return reply(ApprovalData(data=answer_of(taken)))


def _no_approval(key: str) -> ApiError:
    return not_found("approval_not_found", "Approval not found", f"There is no approval '{key[:100]}'.")


def _cursor(approval: Approval) -> str:
    text = json.dumps([approval.created_at.isoformat(), approval.approval_id])
    return base64.urlsafe_b64encode(text.encode()).decode("ascii").rstrip("=")


def _position(cursor: str | None) -> tuple[datetime, str] | None:
    if cursor is None:
        return None
    try:
        moment, approval_id = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        return datetime.fromisoformat(moment).astimezone(UTC), str(approval_id).replace("\0", "")
    except (ValueError, TypeError, OverflowError):
        detail = "Take 'next_cursor' of the page before as it is."
        raise ApiError(400, "invalid_cursor", "The cursor is not valid", detail) from None
