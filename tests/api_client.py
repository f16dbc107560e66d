"""The API for tests: over a real database, with a client that holds every answer against the OpenAPI document."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import uuid4

from flask import Flask
from flask.testing import FlaskClient
from jsonschema import Draft202012Validator
from werkzeug.test import TestResponse

from highway_core.api.app import create_app
from highway_core.api.context import ApiContext
from highway_core.api.wiring import context_over
from highway_core.config import Settings
from highway_core.engine.durable.operations import DurableRuns, Started, StartRequest
from highway_core.engine.durable.wiring import open_durable
from highway_core.persistence.api_keys import Scope
from highway_core.persistence.durable_connection import DurableConnection
from highway_core.tools.registry import ToolRegistry

DOCUMENT: dict[str, Any] = {
    "name": "greeting",
    "tasks": {
        "hello": {"operator_type": "task", "task_id": "hello", "function": "tools.log.info", "args": ["hello"]},
        "again": {
            "operator_type": "task",
            "task_id": "again",
            "function": "tools.log.info",
            "args": ["again"],
            "dependencies": ["hello"],
        },
    },
}


class RecordedRuns:
    """The runs of a database, and what they were asked."""

    def __init__(self, runs: DurableRuns) -> None:
        self._runs = runs
        self.asked: list[StartRequest] = []
        self.told: list[tuple[Any, ...]] = []

    def start(self, request: StartRequest) -> Started:
        self.asked.append(request)
        return self._runs.start(request)

    def __getattr__(self, verb: str) -> Any:
        def tell(*values: Any) -> Any:
            self.told.append((verb, *values))
            return getattr(self._runs, verb)(*values)

        return tell


class CheckedClient(FlaskClient):
    """Refuses an answer that the OpenAPI document does not describe."""

    def open(self, *args: Any, **kwargs: Any) -> TestResponse:
        response = super().open(*args, **kwargs)
        check_answer(self.application, response)
        return response


def check_answer(app: Flask, response: TestResponse) -> None:
    """AssertionError unless the answer is one that the OpenAPI document describes."""
    request = response.request
    described = openapi_of(app)
    for path, methods in described["paths"].items():
        pattern = re.sub(r"\\{\w+\\}", ".+", re.escape(path))
        if re.fullmatch(pattern, request.path) and request.method.lower() in methods:
            break
    else:
        assert response.status_code in {404, 405, 413}, f"{request.method} {request.path} is not in the document"
        return
    answers = methods[request.method.lower()]["responses"]
    status = str(response.status_code)
    assert status in answers, f"{request.method} {path} does not declare {status}: {response.text[:300]}"
    content = answers[status]["content"]
    assert response.mimetype in content, f"{request.method} {path} {status} is {response.mimetype}"
    if response.is_json:
        schema = {**content[response.mimetype]["schema"], "components": described["components"]}
        Draft202012Validator(schema).validate(response.get_json())


def openapi_of(app: Flask) -> dict[str, Any]:
    """The document that the application serves."""
    found = app.extensions.get("tests.openapi")
    if found is None:
        found = app.extensions["tests.openapi"] = FlaskClient(app).get("/openapi.json").get_json()
    assert isinstance(found, dict)
    return found


@dataclass
class Api:
    """An application, its client and what is behind it."""

    url: str
    settings: Settings = field(default_factory=Settings)

    @cached_property
    def context(self) -> ApiContext:
        settings = replace(self.settings, database_url=self.url)
        return context_over(settings, RecordedRuns(open_durable(settings)), ToolRegistry(settings))

    @cached_property
    def app(self) -> Flask:
        app = create_app(context=self.context)
        app.json.sort_keys = False  # type: ignore[attr-defined]
        app.test_client_class = CheckedClient
        return app

    @cached_property
    def client(self) -> FlaskClient:
        return self.app.test_client()

    @property
    def runs(self) -> RecordedRuns:
        assert isinstance(self.context.runs, RecordedRuns)
        return self.context.runs

    def sql(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self.context.pool.connection() as connection:
            return connection.fetch(statement, values)

    def key(self, *scopes: Scope) -> dict[str, str]:
        """The header of a new key."""
        return {"Authorization": f"Bearer {self.context.keys.create('test', scopes).text}"}

    def post(self, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> TestResponse:
        """Post JSON, or nothing."""
        if body is None:
            return self.client.post(path, headers=headers)
        return self.client.post(path, json=body, headers=headers)

    def start(self, **more: Any) -> str:
        """A run of DOCUMENT."""
        answer = self.post("/workflow/start", {"document": DOCUMENT, **more})
        assert answer.status_code == 202, answer.text
        return str(answer.get_json()["workflow_id"])

    def close(self) -> None:
        self.context.polls.close()
        self.context.runs.close()
        self.context.pool.close()


@contextmanager
def database(server: str) -> Iterator[str]:
    """The URL of a database for many tests, where one for each would take long."""
    name = f"shared_{uuid4().hex}"
    maintenance = DurableConnection(server)
    maintenance.run(f"CREATE DATABASE {name}")
    try:
        yield server.replace("/postgres?", f"/{name}?")
    finally:
        maintenance.run(f"DROP DATABASE {name} WITH (FORCE)")
        maintenance.close()


def folder_with(path: Path, **documents: str) -> Path:
    """A folder of documents, by file name with its dot as two underscores."""
    for name, text in documents.items():
        (path / name.replace("__", ".")).write_text(text, encoding="utf-8")
    return path
