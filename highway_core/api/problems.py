"""Errors as RFC 9457 problem documents: every exception that leaves a view becomes one, and none shows its inside.

``code`` is stable and what programs branch on; ``error`` repeats the title for the clients of the first API.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from highway_core.api import outages
from highway_core.errors import (
    ApprovalError,
    DocumentError,
    HighwayError,
    Problem,
    ResultError,
    RunConflictError,
    RunNotFoundError,
    RunStateError,
    StorageError,
)
from highway_core.utils.json_values import clean_text

PROBLEM_TYPE = "application/problem+json"
RETRY_SECONDS = 2
_LONGEST_DETAIL = 4_000
_MOST_PROBLEMS = 200

_log = logging.getLogger(__name__)


class ApiError(HighwayError):
    """A request that is refused; ``more`` are further members of the problem document."""

    def __init__(
        self,
        status: int,
        code: str,
        title: str,
        detail: str = "",
        *,
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(detail or title)
        self.status = status
        self.code = code
        self.title = title
        self.detail = detail
        self.headers = dict(headers or {})
        self.more = more


def not_found(code: str, title: str, detail: str = "") -> ApiError:
    """A 404."""
    return ApiError(404, code, title, detail)


def conflict(code: str, title: str, detail: str = "", **more: Any) -> ApiError:
    """A 409."""
    return ApiError(409, code, title, detail, **more)


def install(app: Flask) -> None:
    """Let the application answer every exception with a problem document."""
    outages.install(app)
    app.register_error_handler(Exception, answer_to)


def answer_to(error: Exception) -> Response:
    """The problem document of an exception."""
    return problem_response(_refusal(error))


def problem_response(refused: ApiError) -> Response:
    """A refusal as a response."""
    body = {
        "type": f"urn:highway:problem:{refused.code}",
        "title": refused.title,
        "status": refused.status,
        "code": refused.code,
        "detail": clean_text(refused.detail or refused.title, _LONGEST_DETAIL),
        "error": refused.title,
        **refused.more,
    }
    response = Response(json.dumps(body) + "\n", status=refused.status, content_type=PROBLEM_TYPE)
    response.headers.extend(refused.headers)
    return response


def problems_json(problems: Iterable[Problem]) -> list[dict[str, str]]:
    """Problems of a document as members of an answer."""
    listed = list(problems)
    shown = [
        {
            "place": clean_text(one.place, 1_000),
            "message": clean_text(one.message, 2_000),
            "hint": clean_text(one.hint, 1_000),
            "position": clean_text(one.position, 300),
        }
        for one in listed[:_MOST_PROBLEMS]
    ]
    if len(listed) > len(shown):
        left = f"{len(listed) - len(shown)} more problems"
        shown.append({"place": "", "message": left, "hint": "", "position": ""})
    return shown


def _refusal(error: Exception) -> ApiError:
    match error:
        case ApiError():
            return error
        case HTTPException():
            return _of_http(error)
        case RecursionError():
            return ApiError(400, "invalid_json", "Not usable JSON", "The body is nested too deeply.")
        case HighwayError():
            return _of_engine(error)
        case _:
            return _unexpected(error)


def _of_engine(error: HighwayError) -> ApiError:
    text = str(error)
    match error:
        case DocumentError():
            problems = problems_json(error.problems)
            return ApiError(422, "invalid_document", "The workflow document is not valid", text, problems=problems)
        case RunNotFoundError():
            return not_found("run_not_found", "Workflow not found", text)
        case RunConflictError():
            title = "The run exists already, with another payload"
            return conflict("run_conflict", title, text, existing_run_id=error.run_id)
        case RunStateError():
            return conflict("wrong_state", "Not possible in the run's state", text)
        case ApprovalError():
            return conflict("approval_closed", "The decision cannot be taken", text)
        case ResultError():
            return ApiError(422, "invalid_value", "A value cannot be stored", text)
        case StorageError():
            return _of_storage(error)
        case _:
            return _unexpected(error)


def _of_storage(error: StorageError) -> ApiError:
    if outages.is_news(error):
        _log.warning("%s %s: %s", request.method, request.path, error)
    detail = "The database cannot answer now. Nothing is known to have changed; repeat the request with the same key."
    headers = {"Retry-After": str(RETRY_SECONDS)}
    return ApiError(503, "database_unavailable", "The database is not available", detail, headers=headers)


def _of_http(error: HTTPException) -> ApiError:
    status = error.code or 500
    known = {
        400: ("bad_request", "Bad request"),
        404: ("not_found", "Not found"),
        405: ("method_not_allowed", "Method not allowed"),
        413: ("body_too_large", "The body is too large"),
        415: ("unsupported_media_type", "Unsupported media type"),
    }
    code, title = known.get(status, ("http_error", error.name))
    headers = {name: value for name, value in error.get_headers() if name.lower() in {"allow", "retry-after"}}
    detail = error.description or ""
    if status == 413 and request.is_json and request.max_content_length:
        detail = f"A body may have {request.max_content_length:,} bytes here."
    return ApiError(status, code, title, detail, headers=headers)


def _unexpected(error: Exception) -> ApiError:
    number = uuid.uuid4().hex
    _log.error("%s %s failed (%s)", request.method, request.path, number, exc_info=error)
    detail = f"Something went wrong that should not have; the log has it under {number}."
    return ApiError(500, "internal_error", "Internal error", detail, instance=f"urn:uuid:{number}")
