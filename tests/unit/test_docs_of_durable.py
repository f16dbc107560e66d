"""The pages about DURABLE mode against the code: tables, kinds, statuses, routes, errors, commands, names."""

from __future__ import annotations

import ast
import json
import re
import shlex
from collections.abc import Iterator
from typing import Any
from unittest.mock import Mock

import pytest
from werkzeug.routing import MapAdapter

from highway_core.api.app import create_app
from highway_core.api.routing import operations_of
from highway_core.api.wiring import context_over
from highway_core.cli.durable_command import _MODULES as DURABLE
from highway_core.cli.parser import parse
from highway_core.config import Settings
from highway_core.engine.loader import Source, compile_document
from highway_core.engine.models import OPERATORS
from highway_core.lifecycle import ApprovalStatus, QueueKind
from highway_core.persistence.approval_store import Refusal
from highway_core.persistence.models import Base
from highway_core.persistence.upkeep import REPAIRED
from highway_core.tools.registry import ToolRegistry
from tests.documentation import PAGES, ROOT, Block, blocks, in_code, prose, table, tables, text_of

API = "docs/api.md"
ARCHITECTURE = "docs/architecture.md"
PACKAGE = ROOT / "highway_core"
STATEMENTS = PACKAGE / "persistence" / "statements"
DDL = (PACKAGE / "persistence/migrations/versions/v0002_durable.sql").read_text(encoding="utf-8")
SETTINGS = Settings(database_url="postgresql://127.0.0.1:1/none")


@pytest.fixture(scope="module")
def app() -> Any:
    return create_app(context=context_over(SETTINGS, Mock(), ToolRegistry(SETTINGS)))


def test_every_table_is_documented_and_no_other() -> None:
    added = set(re.findall(r"^CREATE TABLE (\w+)", DDL, re.MULTILINE))
    shown = set(table("docs/database.md", "Table", "One row is").names())
    assert added <= shown <= added | set(Base.metadata.tables)


def test_every_kind_of_a_queue_row_is_documented_and_no_other() -> None:
    assert set(table(ARCHITECTURE, "kind", "status while it waits").names()) == {kind.value for kind in QueueKind}


def test_every_status_of_an_approval_is_documented_and_no_other() -> None:
    assert table("docs/durable.md", "status of an approval").names() == [status.value for status in ApprovalStatus]


def test_every_route_is_documented_with_its_scope_and_no_other(app: Any) -> None:
    routes = {
        (f"{one.method} {one.path.replace('<path:', '<')}", f"`{one.scope}`" if one.scope else "none")
        for one in operations_of(app).values()
    }
    shown = [(row[0].strip("`"), row[1]) for one in tables(API) if one.head[0] == "route" for row in one.rows]
    assert set(shown) == routes
    assert len(shown) == len(routes)


def codes() -> set[str]:
    """Every code that a problem document may have."""
    sources = "\n".join(path.read_text(encoding="utf-8") for path in (PACKAGE / "api").glob("*.py"))
    raised = re.findall(r'(?:ApiError\(\s*\w+,|not_found\(|conflict\()\s*"([a-z_]+)"', sources)
    from_http = re.findall(r'\d{3}: \("([a-z_]+)", "', sources)
    decisions = {f"approval_{reason}" for reason in Refusal if reason is not Refusal.CHOICE} | {"invalid_decision"}
    return {*raised, *from_http, *decisions, "http_error"}


def test_every_code_of_an_error_is_documented_and_no_other() -> None:
    assert set(table(API, "code", "status", "meaning").names()) == codes()


def test_every_durable_command_is_on_a_page() -> None:
    text = "\n".join([*in_code("docs/services.md"), *(line for page in PAGES for line in command_lines(page))])
    for verb in DURABLE:
        assert re.search(rf"(?:^|durable ){verb}\b", text, re.MULTILINE), verb


def command_lines(page: str) -> Iterator[str]:
    """What the blocks of a page tell to ``cli.py``, without comments and variables."""
    for block in blocks(page):
        for line in block.text.splitlines() if block.language == "sh" else ():
            _, found, words = line.rpartition("&& ")[2].partition("python cli.py ")
            if found:
                yield re.split(r"\s{2,}#", words)[0]


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page_is_one_that_the_command_line_takes(page: str) -> None:
    for line in command_lines(page):
        assert parse(shlex.split(line)).command, line


@pytest.mark.parametrize("page", PAGES)
def test_every_block_of_json_is_json(page: str) -> None:
    for block in blocks(page):
        if block.language == "json":
            json.loads(block.text)


def requests_of(block: Block) -> Iterator[tuple[str, str, str | None]]:
    """Method, path and body of what a block asks the API for with curl."""
    for line in block.text.splitlines():
        if line.startswith("curl "):
            words = shlex.split(line)
            (path,) = [word.removeprefix("$api").partition("?")[0] for word in words if word.startswith("$api")]
            body = words[words.index("-d") + 1] if "-d" in words else None
            yield "GET" if body is None else "POST", path, body


def test_the_requests_in_the_readme_are_those_of_the_api(app: Any) -> None:
    asked = [one for block in blocks("README.md") for one in requests_of(block)]
    assert len(asked) >= 8
    adapter: MapAdapter = app.url_map.bind("localhost")
    for method, path, body in asked:
        endpoint, _ = adapter.match(path, method)
        model = operations_of(app)[endpoint].body
        if body is not None:
            assert model is not None
            given = model.model_validate(json.loads(body))
            if getattr(given, "document", None):
                compile_document(Source(given.model_dump()["document"], path))


def definitions() -> dict[str, set[str]]:
    """Every class of the package with its methods, and every function under the empty name."""
    found: dict[str, set[str]] = {"": set()}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef):
                found[""].add(node.name)
            if isinstance(node, ast.ClassDef):
                names = {one.name for one in node.body if isinstance(one, ast.FunctionDef)}
                names |= {one.attr for one in ast.walk(node) if isinstance(one, ast.Attribute)}
                declared = [one.target for one in node.body if isinstance(one, ast.AnnAssign)]
                names |= {one.id for one in declared if isinstance(one, ast.Name)}
                found.setdefault(node.name, set()).update(names)
    return found


@pytest.mark.parametrize("page", [ARCHITECTURE, "docs/durable.md", "docs/semantics.md", "docs/database.md"])
def test_the_names_of_the_code_on_a_page_are_there(page: str) -> None:
    known = definitions()
    words = {*OPERATORS, *Base.metadata.tables, *re.findall(r"\w+", DDL), *QueueKind}
    functions = set(re.findall(r"FUNCTION (highway_\w+)", (STATEMENTS / "durable_functions.sql").read_text("utf-8")))
    for name in in_code(page):
        if re.fullmatch(r"highway_(?!core|dsl|work|done|timer)\w+", name):
            assert name in functions, name
        found = re.fullmatch(r"([A-Z][a-z]+(?:[A-Z][a-z]+)*)(?:\.(\w+))?", name)
        if found:
            assert found[1] in known, name
            assert found[2] is None or found[2] in known[found[1]], name
        if page == ARCHITECTURE and re.fullmatch(r"[a-z]+_[a-z_]+", name) and not name.startswith("highway_"):
            assert name in known[""] | words, name


def test_the_counters_on_the_pages_are_those_that_are_counted() -> None:
    counted = {*re.findall(r"'(\w+)', amount", (STATEMENTS / "durable_functions.sql").read_text("utf-8")), REPAIRED}
    counted |= set(
        re.findall(r'^LATE_ANSWERS = "(\w+)"', (PACKAGE / "engine/durable/inputs.py").read_text("utf-8"), re.M)
    )
    said = " ".join(text_of(page) for page in ("docs/durable.md", "docs/schedules.md"))
    assert len(counted) >= 3
    for name in counted:
        assert f"`{name}`" in said, name


def test_the_channels_on_the_pages_are_those_that_are_called() -> None:
    source = (PACKAGE / "engine/durable/operations.py").read_text(encoding="utf-8")
    called = set(re.findall(r'"(highway_\w+)"', source))
    assert called >= {name for name in in_code(ARCHITECTURE) if re.fullmatch(r"highway_(?:work|done|timer)", name)}


def test_the_pages_say_nothing_of_what_is_being_built() -> None:
    for page in PAGES:
        assert "being built" not in prose(page), page
