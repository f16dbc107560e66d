"""The OpenAPI document holds every route, is valid JSON Schema throughout, and says what a key needs."""

from __future__ import annotations

import re
from typing import Any

import pytest
from flask import Flask
from jsonschema import Draft202012Validator

from highway_core.api import app as app_module
from highway_core.api.app import create_app
from highway_core.api.context import ApiContext
from highway_core.api.openapi import document
from highway_core.api.routing import operations_of
from highway_core.api.wiring import context_over
from highway_core.config import Settings
from highway_core.persistence.api_keys import Scope
from highway_core.tools.registry import ToolRegistry
from tests.documentation import ROOT

SETTINGS = Settings(database_url="postgresql://127.0.0.1:1/none")


class NoRuns:
    """Stands in for operations that these tests do not reach."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(name)


@pytest.fixture(scope="module")
def context() -> ApiContext:
    return context_over(SETTINGS, NoRuns(), ToolRegistry(SETTINGS))


@pytest.fixture(scope="module")
def app(context: ApiContext) -> Flask:
    return create_app(context=context)


@pytest.fixture(scope="module")
def described(app: Flask) -> dict[str, Any]:
    answer = app.test_client().get("/openapi.json")
    assert answer.status_code == 200
    found = answer.get_json()
    assert isinstance(found, dict)
    return found


def test_every_route_is_described_and_no_other(app: Flask, described: dict[str, Any]) -> None:
    routes = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD"}
    }
    assert routes == {(path, method) for path, methods in described["paths"].items() for method in methods}
    ids = [one["operationId"] for methods in described["paths"].values() for one in methods.values()]
    assert len(ids) == len(set(ids))


def test_every_schema_is_one_and_every_reference_leads_somewhere(described: dict[str, Any]) -> None:
    assert described["openapi"] == "3.1.0"
    for name, schema in described["components"]["schemas"].items():
        Draft202012Validator.check_schema(schema)
        assert schema.get("type") in {"object", "string", "array"} or "enum" in schema, name
    references = re.findall(r"'\$ref': '#/components/schemas/([^']+)'", str(described))
    assert set(references) <= set(described["components"]["schemas"])
    for methods in described["paths"].values():
        for one in methods.values():
            for parameter in one["parameters"]:
                Draft202012Validator.check_schema(parameter["schema"])


def test_an_operation_names_its_scope_and_what_a_missing_key_gets(app: Flask, described: dict[str, Any]) -> None:
    for operation in operations_of(app).values():
        path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", operation.path)
        one = described["paths"][path][operation.method.lower()]
        assert one["summary"] and one["description"], path
        if operation.scope is None:
            assert one["security"] == []
        else:
            assert one["security"] == [{"key": []}]
            assert one["x-required-scope"] in set(Scope)
            assert {"401", "403", "429"} <= set(one["responses"])


def test_path_parts_are_parameters(described: dict[str, Any]) -> None:
    for path, methods in described["paths"].items():
        for one in methods.values():
            named = {parameter["name"] for parameter in one["parameters"] if parameter["in"] == "path"}
            assert named == set(re.findall(r"{(\w+)}", path))


def test_the_document_names_the_server_that_was_asked(app: Flask) -> None:
    assert document(operations_of(app), "http://127.0.0.1:5000/")["servers"] == [{"url": "http://127.0.0.1:5000"}]


def test_the_page_about_the_api_names_every_route_and_every_scope(app: Flask) -> None:
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    for operation in operations_of(app).values():
        path = re.sub(r"<(?:\w+:)?(\w+)>", r"<\1>", operation.path)
        assert f"`{operation.method} {path}`" in text, path
    for scope in Scope:
        assert f"`{scope}`" in text


def test_the_page_about_the_api_names_every_code_of_a_problem() -> None:
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "highway_core" / "api").glob("*.py")]
    codes = {
        code
        for source in sources
        for code in re.findall(r'(?:ApiError\(\s*\d+,|not_found\(|conflict\()\s*"(\w+)"', source)
    }
    assert len(codes) > 10
    assert {code for code in codes if f"`{code}`" not in text} == set()


def test_nothing_here_starts_flask_s_own_server_or_its_debugger() -> None:
    for path in (ROOT / "highway_core").rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        assert not re.search(r"\bapp\.run\(|debug\s*=\s*True|run_simple|use_debugger", source), path


def test_the_application_of_the_module_is_made_when_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, app: Flask
) -> None:
    app_module._default_app.cache_clear()
    monkeypatch.setattr(app_module, "create_app", lambda: app)
    assert app_module.app is app
    app_module._default_app.cache_clear()
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        app_module.nothing  # noqa: B018
