"""The documentation says what there is: no setting, tool, example or command is missing, and none is invented."""

from __future__ import annotations

import ast
import inspect
import json
import re
import tomllib
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest

from highway_core.cli.durable_command import _MODULES as DURABLE
from highway_core.cli.parser import parse
from highway_core.config import Settings, _Reader
from highway_core.engine.executors.docker_options import _ALIASES, _SIMPLE
from highway_core.engine.loader import SUFFIXES
from highway_core.tools.builtin_tools import BUILTIN_MODULES, load_all_builtins
from highway_core.tools.bulkhead_config import BulkheadConfig
from highway_core.tools.decorators import TOOL_REGISTRY, ToolInfo, tool_info
from tests.documentation import PAGES, ROOT, anchors, blocks, headings, in_code, links, prose, table, tables, text_of

SETTINGS = "docs/settings.md"
TOOLS = "docs/tools.md"
IMAGINED = frozenset({"flow", "more", "my_tools"})
"""Files that the pages only imagine: their names, or those of their folders."""


class _Recorder(dict[str, str]):
    """An environment that notes what it is asked for."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.asked: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        self.asked.add(key)
        return super().get(key, default)


def read_variables() -> set[str]:
    """Every variable that Highway reads."""
    environ = _Recorder({"HIGHWAY_SMTP_HOST": "localhost", "HIGHWAY_ENV": "test"})
    settings = _Reader(environ).settings()
    elsewhere = {
        name
        for path in (ROOT / "highway_core").rglob("*.py")
        for name in re.findall(r"\benviron\.get\(\"(\w+)\"", path.read_text(encoding="utf-8"))
    }
    assert isinstance(settings, Settings)
    return environ.asked | elsewhere | {"HIGHWAY_SECRET_<NAME>"}


def setting_rows() -> dict[str, tuple[str, ...]]:
    return {
        one.names()[row_number]: row
        for one in tables(SETTINGS)
        if one.head[0] == "variable"
        for row_number, row in enumerate(one.rows)
    }


def test_every_setting_is_documented_and_no_other() -> None:
    in_parts = {alias for row in setting_rows().values() for alias in re.findall(r"`(DB_\w+)` is another", row[2])}
    assert set(setting_rows()) | in_parts == read_variables()


def test_the_numbers_that_settings_default_to_are_those_of_the_code() -> None:
    settings = Settings()
    numbers = {
        name: row[1]
        for name, row in setting_rows().items()
        if type(getattr(settings, name.removeprefix("HIGHWAY_").lower(), None)) is int
    }
    assert len(numbers) >= 4
    for name, default in numbers.items():
        assert default == f"`{getattr(settings, name.removeprefix('HIGHWAY_').lower())}`", name


def test_the_database_that_is_used_without_settings_is_the_documented_one() -> None:
    assert setting_rows()["HIGHWAY_DATABASE_URL"][1] == "`{}`".format(
        next(one.default for one in fields(Settings) if one.name == "database_url")
    )


@pytest.mark.parametrize("page", PAGES)
def test_a_page_names_only_variables_that_are_read(page: str) -> None:
    known = {name.removesuffix("<NAME>") for name in read_variables()}
    for name in re.findall(r"\bHIGHWAY_[A-Z_]+", text_of(page)):
        assert name in known or name.startswith("HIGHWAY_SECRET_"), name


def builtin_tools() -> dict[str, ToolInfo]:
    load_all_builtins()
    return {
        name: tool_info(name)
        for name, function in TOOL_REGISTRY.items()
        if function.__module__.startswith("highway_core.tools.")
    }


def signature_of(info: ToolInfo) -> str:
    """As ``docs/tools.md`` writes it: without what is injected, defaults in JSON."""
    injected = {"": 0, "context": 1, "state": 1, "human": 4}[info.inject]
    parts, by_name_only = [], False
    for one in list(inspect.signature(info.function).parameters.values())[injected:]:
        if one.kind is one.KEYWORD_ONLY and not by_name_only:
            parts.append("*")
        by_name_only |= one.kind in {one.KEYWORD_ONLY, one.VAR_POSITIONAL}
        stars = {one.VAR_POSITIONAL: "*", one.VAR_KEYWORD: "**"}.get(one.kind, "")
        default = "" if one.default is one.empty else f"={json.dumps(one.default)}"
        parts.append(f"{stars}{one.name}{default}")
    return f"{info.name}({', '.join(parts)})"


def test_every_tool_is_documented_with_its_arguments_and_no_other() -> None:
    documented = [name for one in tables(TOOLS) if one.head[0] == "tool" and len(one.head) == 3 for name in one.names()]
    assert sorted(documented) == sorted(signature_of(info) for info in builtin_tools().values())


@pytest.mark.parametrize("flag", ["stoppable", "transactional"])
def test_the_tools_that_are_not_moved_to_a_process_of_their_own_are_listed(flag: str) -> None:
    (row,) = [row for row in table(TOOLS, "tool", "where").rows if row[0].startswith(flag)]
    assert set(re.findall(r"`(.+?)`", row[0])) == {
        name for name, info in builtin_tools().items() if getattr(info, flag)
    }


def test_every_field_of_a_bulkhead_is_documented_with_its_default() -> None:
    shown = {row[0].strip("`"): row[1].strip("`") for row in table(TOOLS, "field", "default", under="Bulkheads").rows}
    assert shown == {
        one.name: "none" if one.default is None else json.dumps(one.default)
        for one in fields(BulkheadConfig)
        if one.default is not MISSING
    }


def test_the_example_of_bulkheads_can_be_used() -> None:
    (block,) = [block for block in blocks(TOOLS) if block.language == "json"]
    settings = Settings.from_env({"HIGHWAY_BULKHEADS": block.text})
    for name, values in settings.bulkheads.items():
        assert BulkheadConfig.from_settings(name, values).name == name


def test_every_option_of_a_container_is_documented_and_no_other() -> None:
    shown = table("docs/documents.md", "option of `docker`")
    assert shown.names() == ["environment", "volumes", "network", "memory", *shown.names()[4:]]
    assert set(shown.names()) == {*_SIMPLE, "volumes", "network"}
    said = {alias: row[0].strip("`") for row in shown.rows for alias in re.findall(r"`(\w+)` is another name", row[1])}
    assert said == _ALIASES


@pytest.mark.parametrize("page", PAGES)
def test_a_page_names_only_tools_that_there_are(page: str) -> None:
    prefixes = "|".join(sorted(re.escape(prefix) for prefix in BUILTIN_MODULES))
    text = "\n".join([*in_code(page), *(block.text for block in blocks(page))])
    for name in re.findall(rf"(?<![\w./@-])(?:{prefixes})\.[a-z_]+\b(?!\.)", text):
        assert name in builtin_tools(), name


def test_every_example_is_in_the_readme_and_no_other() -> None:
    tools = ROOT / "examples" / "tools_dir"
    files = [path for path in (ROOT / "examples").rglob("*") if path.suffix in SUFFIXES and tools not in path.parents]
    shown = [row for one in tables("README.md") if one.head == ("file", "shows") for row in one.rows]
    named = {name for row in shown for name in re.findall(r"`(examples/[^`]+)`", " ".join(row))}
    assert named - {"examples/tools_dir"} == {str(path.relative_to(ROOT)) for path in files}


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_a_page_names_is_there(page: str) -> None:
    own = {block.file for block in blocks(page)}
    for name in re.findall(r"(?<![\w./:-])[\w./-]+\.(?:py|md|ya?ml|json|sh|toml)(?![\w.])", "\n".join(in_code(page))):
        if name in own or Path(name).stem in IMAGINED or Path(name).parts[0] in IMAGINED or name.startswith((".", "/")):
            continue
        assert next(ROOT.rglob(name), None) is not None, f"{page}: {name}"


@pytest.mark.parametrize("page", PAGES)
def test_every_link_inside_the_project_leads_somewhere(page: str) -> None:
    for link in links(page):
        if re.match(r"https?://", link):
            continue
        place, _, anchor = link.partition("#")
        target = (ROOT / page).parent / place if place else ROOT / page
        assert target.is_file(), link
        if anchor:
            assert anchor in anchors(str(target.resolve().relative_to(ROOT))), link


def commands() -> list[list[str]]:
    """Every command that takes options."""
    durable = [["durable", action] for action in DURABLE if action not in {"db", "keys", "schedule", "limits"}]
    inner = (("db", "check"), ("keys", "create"), ("schedule", "add"), ("limits", "set"))
    return [
        *(["run"], ["validate"], ["schema"], ["webhooks", "run"], ["webhooks", "cleanup"]),
        *durable,
        *(["durable", *names] for names in inner),
    ]


@pytest.mark.parametrize("page", PAGES)
def test_a_page_names_only_options_that_the_command_line_takes(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    for command in commands():
        with pytest.raises(SystemExit):
            parse([*command, "--help"])
    known = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    lines = [*in_code(page), *(line for block in blocks(page) for line in block.text.splitlines())]
    text = "\n".join(line for line in lines if not line.startswith("docker "))
    for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*", text):
        assert option in known, option


@pytest.mark.parametrize("page", PAGES)
def test_every_python_block_is_python(page: str) -> None:
    for block in blocks(page):
        if block.language == "python":
            ast.parse(block.text, filename=str(block))


def test_every_page_of_docs_is_linked_from_the_readme() -> None:
    linked = {link for link in links("README.md") if link.startswith("docs/")}
    assert linked == {page for page in PAGES if page.startswith("docs/")}


def test_the_changelog_has_a_section_for_this_version() -> None:
    project = tomllib.loads(text_of("pyproject.toml"))["project"]
    newest = headings("CHANGELOG.md", 2)[0]
    assert newest.split()[0] == project["version"]
    assert prose("CHANGELOG.md").partition(f"## {newest}")[2].strip()
