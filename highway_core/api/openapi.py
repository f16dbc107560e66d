"""The OpenAPI 3.1 document, made from what the routes declare."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from highway_core.api.problems import PROBLEM_TYPE
from highway_core.api.routing import Operation

_REF = "#/components/schemas/{model}"
_PART = re.compile(r"<(?:\w+:)?(\w+)>")
_TITLES = {
    200: "Done",
    202: "Accepted",
    302: "Go there",
    303: "Done; look there",
    400: "The request is not valid",
    401: "No valid API key",
    403: "The key lacks the scope",
    404: "Not found",
    405: "Method not allowed",
    409: "It conflicts with what is there",
    410: "Gone",
    413: "The body is too large",
    415: "Not a media type that this takes",
    422: "The content is not valid",
    429: "Too many wrong keys",
    500: "Internal error",
    503: "Not available now",
}
_PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "code", "detail", "error"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string", "description": "Stable: what programs branch on."},
        "detail": {"type": "string"},
        "error": {"type": "string", "description": "The title again."},
        "instance": {"type": "string"},
        "existing_run_id": {"type": ["string", "null"]},
        "problems": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["place", "message", "hint", "position"],
                "properties": {name: {"type": "string"} for name in ("place", "message", "hint", "position")},
            },
        },
    },
}


def document_text(operations: Mapping[str, Operation], server: str) -> str:
    """The document as JSON."""
    return json.dumps(document(operations, server))


def document(operations: Mapping[str, Operation], server: str) -> dict[str, Any]:
    """The document of an API that is reached at ``server``."""
    listed = list(operations.values())
    schemas, definitions = _schemas(listed)
    paths: dict[str, dict[str, Any]] = {}
    for one in listed:
        path = _PART.sub(r"{\1}", one.path)
        paths.setdefault(path, {})[one.method.lower()] = _operation(one, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Highway", "version": "1", "description": "Durable workflows. Errors are RFC 9457 problems."},
        "servers": [{"url": server.rstrip("/")}],
        "paths": paths,
        "components": {
            "schemas": {**definitions, "Problem": _PROBLEM},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "bearerFormat": "hw_k1_<id>_<secret>"}},
        },
    }


def _schemas(operations: list[Operation]) -> tuple[dict[Any, dict[str, Any]], dict[str, Any]]:
    wanted: list[tuple[type[BaseModel], Any]] = []
    for one in operations:
        wanted += [(model, "validation") for model in (one.body, one.query) if model is not None]
        wanted += [(model, "serialization") for model in one.answers.values() if not isinstance(model, str)]
    schemas, top = models_json_schema(wanted, ref_template=_REF)
    return dict(schemas), dict(top.get("$defs", {}))


def _operation(one: Operation, schemas: Mapping[Any, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": f"{one.view.__module__.rpartition('.')[2].removesuffix('_routes')}_{one.view.__name__}",
        "summary": one.summary,
        "description": one.view.__doc__ or "",
        "parameters": _parameters(one),
        "responses": _responses(one, schemas),
        "security": [{"key": []}] if one.scope is not None else [],
    }
    if one.scope is not None:
        described["x-required-scope"] = str(one.scope)
    if one.body is not None:
        content = {"application/json": {"schema": schemas[one.body, "validation"]}}
        described["requestBody"] = {"content": content, "required": False}
    if one.upload is not None:
        form = {"type": "object", "properties": {one.upload: {"type": "string", "format": "binary"}}}
        form["required"] = [one.upload]
        described["requestBody"] = {"content": {"multipart/form-data": {"schema": form}}, "required": True}
    return described


def _parameters(one: Operation) -> list[dict[str, Any]]:
    text = {"type": "string"}
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": text} for name in _PART.findall(one.path)
    ]
    if one.query is not None:
        schema = one.query.model_json_schema(ref_template=_REF)
        required = set(schema.get("required", ()))
        for name, described in schema["properties"].items():
            parameters.append({"name": name, "in": "query", "required": name in required, "schema": described})
    parameters += [{"name": name, "in": "header", "required": False, "schema": text} for name in one.headers]
    return parameters


def _responses(one: Operation, schemas: Mapping[Any, Any]) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status, answer in one.answers.items():
        kind, schema = (
            (answer, {}) if isinstance(answer, str) else ("application/json", schemas[answer, "serialization"])
        )
        responses[str(status)] = {"description": _TITLES.get(status, "Done"), "content": {kind: {"schema": schema}}}
    problem = {PROBLEM_TYPE: {"schema": {"$ref": _REF.format(model="Problem")}}}
    for status in sorted({*_everywhere(one), *one.problems}):
        described = responses.setdefault(str(status), {"description": _TITLES[status], "content": {}})
        described["content"].update(problem)
    for status in one.pages:
        described = responses.setdefault(str(status), {"description": _TITLES[status], "content": {}})
        described["content"]["text/html"] = {"schema": {}}
    return responses


def _everywhere(one: Operation) -> set[int]:
    """Statuses of problems that follow from what the route is."""
    statuses = {500, 503}
    if one.scope is not None:
        statuses |= {401, 403, 429}
    if one.query is not None:
        statuses.add(400)
    if one.body is not None or one.upload is not None:
        statuses |= {400, 413, 415, 422}
    if "<" in one.path:
        statuses.add(404)
    return statuses
