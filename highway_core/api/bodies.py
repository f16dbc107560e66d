"""Bodies and queries of requests as pydantic models, and models as answers."""

from __future__ import annotations

from typing import Any, TypeVar

from flask import Response, request
from pydantic import BaseModel, ConfigDict, ValidationError
from werkzeug.exceptions import RequestEntityTooLarge

from highway_core.api.problems import ApiError
from highway_core.engine.json_reader import read_json
from highway_core.errors import DocumentError

Model = TypeVar("Model", bound=BaseModel)


class Strict(BaseModel):
    """A body or a query: what it does not declare is refused, and nothing is converted."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Query(BaseModel):
    """Parameters of a query; text becomes what is declared."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Answer(BaseModel):
    """The JSON of an answer."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def read_body(model: type[Model]) -> Model:
    """The JSON body of this request; no body at all counts as an empty object."""
    data = request.get_data(cache=False)
    if request.content_length is None and len(data) >= (request.max_content_length or len(data) + 1):
        raise RequestEntityTooLarge  # werkzeug cuts a body of unknown length off where the limit is
    if data and not request.is_json:
        detail = f"This takes Content-Type: application/json, not {request.mimetype or 'none'!r}."
        raise ApiError(415, "unsupported_media_type", "Unsupported media type", detail)
    return _validated(model, _parsed(data) if data.strip() else {}, "body")


def read_query(model: type[Model]) -> Model:
    """The parameters of this request; one that is given twice is refused."""
    twice = [name for name, values in request.args.lists() if len(values) > 1]
    if twice:
        raise ApiError(400, "invalid_query", "A parameter is not valid", f"'{twice[0]}' is given twice.")
    return _validated(model, request.args.to_dict(), "query")


def reply(answer: BaseModel, status: int = 200) -> Response:
    """A model as the JSON of a response."""
    return Response(answer.model_dump_json() + "\n", status=status, content_type="application/json")


def _parsed(data: bytes) -> Any:
    try:
        return read_json(data, "body").data
    except DocumentError as error:
        raise ApiError(400, "invalid_json", "Not usable JSON", str(error)) from None


def _validated(model: type[Model], data: Any, what: str) -> Model:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        problems = [
            {"place": _place(one["loc"]), "message": one["msg"], "hint": "", "position": ""} for one in error.errors()
        ]
        status = 400 if what == "query" else 422
        detail = "; ".join(f"{one['place']}: {one['message']}" for one in problems[:5])
        raise ApiError(status, f"invalid_{what}", f"The {what} is not valid", detail, problems=problems[:50]) from None


def _place(steps: tuple[int | str, ...]) -> str:
    return ".".join(str(step)[:100] for step in steps[:10])
