"""Bodies and queries of requests as pydantic models, and models as answers."""

from __future__ import annotations

from typing import Any, TypeVar

from flask import Response, request
from pydantic import BaseModel, ConfigDict, ValidationError
from werkzeug.exceptions import RequestEntityTooLarge

from highway_core.api.problems import ApiError, problems_json
from highway_core.engine.json_reader import read_json
from highway_core.engine.wrong_fields import MISSING, UNKNOWN, WrongField, wrong_fields
from highway_core.errors import DocumentError, Problem
from highway_core.utils.naming import did_you_mean

Model = TypeVar("Model", bound=BaseModel)
_MOST_TOLD = 5
"""Problems in the sentence for people."""
_MOST_LISTED = 50


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
        problems = [_problem(one, model) for one in wrong_fields(error, data)]
        status = 400 if what == "query" else 422
        told = [f"{one.message} ({one.hint})" if one.hint else one.message for one in problems[:_MOST_TOLD]]
        if len(problems) > len(told):
            told.append(f"and {len(problems) - len(told)} more")
        detail, listed = f"{'; '.join(told)}.", problems_json(problems[:_MOST_LISTED])
        raise ApiError(status, f"invalid_{what}", f"The {what} is not valid", detail, problems=listed) from None


def _problem(wrong: WrongField, model: type[BaseModel]) -> Problem:
    """What is wrong with a member or a parameter, as a sentence that names it."""
    steps = (*wrong.place, wrong.name) if wrong.kind == MISSING else wrong.place
    place = ".".join(str(step)[:100] for step in steps[:10])
    hint = ""
    if wrong.kind == UNKNOWN:
        hint = did_you_mean(wrong.name, model.model_fields) or f"it takes {', '.join(model.model_fields) or 'nothing'}"
    return Problem(place, f"'{place}' {wrong.message}", hint)
