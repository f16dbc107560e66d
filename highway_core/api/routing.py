"""Routes with what they take, what they answer and whom they let in, declared in one place.

A route that declares nothing cannot be written: the same :class:`Operation` checks the key, reads body and query, and
describes the route in the OpenAPI document.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from flask import Flask, Response, request
from pydantic import BaseModel

from highway_core.api.access import authorise
from highway_core.api.bodies import read_body, read_query
from highway_core.api.context import ApiContext
from highway_core.api.problems import not_found
from highway_core.persistence.api_keys import Scope
from highway_core.utils.json_values import UNSTORABLE

_LONGEST_PATH_PART = 1_000
View = TypeVar("View", bound=Callable[..., Response])


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path."""

    method: str
    path: str
    """As Flask writes it: ``/workflow/status/<run_id>``."""
    view: Callable[..., Response]
    scope: Scope | None
    """Whose keys may use it; None: everybody, without a key."""
    summary: str
    answers: Mapping[int, type[BaseModel] | str]
    """Status → the model of the answer, or a media type that is no JSON."""
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    problems: tuple[int, ...] = ()
    """Statuses of problems that this one may have, beside those that all have."""
    headers: tuple[str, ...] = ()
    """Request headers that it reads."""
    upload: str | None = None
    """The field of a multipart form that holds a file."""
    pages: tuple[int, ...] = ()
    """Statuses whose answer is a page for who comes with a browser."""


@dataclass(slots=True)
class Routes:
    """The routes of one module. A view is called with the context, its path's parts, and ``body`` and ``query`` if the
    route declares them."""

    operations: list[Operation] = field(default_factory=list)

    def get(self, path: str, **declared: Any) -> Callable[[View], View]:
        """Declare a GET; ``declared`` are the fields of :class:`Operation`."""
        return self._declare("GET", path, declared)

    def post(self, path: str, **declared: Any) -> Callable[[View], View]:
        """Declare a POST."""
        return self._declare("POST", path, declared)

    def register(self, app: Flask, context: ApiContext) -> None:
        """Add the routes to the application."""
        for operation in self.operations:
            endpoint = f"{operation.view.__module__}.{operation.view.__name__}.{operation.method}"
            app.add_url_rule(
                operation.path, endpoint, _bound(operation, context), methods=[operation.method], strict_slashes=True
            )
            app.extensions.setdefault("highway.operations", {})[endpoint] = operation

    def _declare(self, method: str, path: str, declared: dict[str, Any]) -> Callable[[View], View]:
        def note(view: View) -> View:
            self.operations.append(Operation(method=method, path=path, view=view, **declared))
            return view

        return note


def operations_of(app: Flask) -> Mapping[str, Operation]:
    """What was registered, by endpoint."""
    operations: Mapping[str, Operation] = app.extensions.get("highway.operations", {})
    return operations


def _bound(operation: Operation, context: ApiContext) -> Callable[..., Response]:
    def call(**parts: Any) -> Response:
        authorise(context, operation.scope)
        if any(len(part) > _LONGEST_PATH_PART or UNSTORABLE.search(part) for part in parts.values()):
            raise not_found("not_found", "Not found", f"There is nothing at {request.path[:200]!r}.")
        if operation.query is not None:
            parts["query"] = read_query(operation.query)
        if operation.body is not None:
            parts["body"] = read_body(operation.body)
        return operation.view(context, **parts)

    return call
