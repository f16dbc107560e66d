"""``cli.py validate`` and ``cli.py schema``: what is wrong with documents, without running them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from highway_core.engine.loader import read_source
from highway_core.engine.models import OPERATORS
from tests.command_line import CLI, EXAMPLES, CommandLine, workflow

GOOD = workflow("a: {function: tools.log.info, args: ['{{inputs.anything}}']}")
BAD = workflow("a: {function: tools.log.inof}", "b: {function: tools.log.info, dependencies: [c]}", head="notes: mine")
ODD = workflow("a: {function: tools.log.info, args: [x], notes: mine}")
DSL_DOCUMENTS = CLI.parent / "tests" / "data" / "dsl"


def test_good_documents_are_valid_and_nothing_is_run(highway: CommandLine) -> None:
    files = [str(path) for path in sorted(EXAMPLES.glob("*.*"))]
    done = highway("validate", *files, HIGHWAY_TOOLS_DIR=str(EXAMPLES / "tools_dir"))

    assert done.code == 0
    assert [line.split(":")[0] for line in done.lines] == [f"✅ {file}" for file in files]
    assert highway.runs() == []


def test_inputs_need_not_be_known_yet(highway: CommandLine) -> None:
    assert highway("validate", highway.write("flow.yaml", GOOD)).lines == ["✅ flow.yaml: valid, 1 task"]


def test_all_problems_and_warnings_of_all_files_are_told(highway: CommandLine) -> None:
    for name, content in (("good.yaml", GOOD), ("bad.yaml", BAD), ("odd.yaml", ODD)):
        highway.write(name, content)
    done = highway("validate", "bad.yaml", "none.yaml", "good.yaml", "odd.yaml", "flow.txt")

    assert done.code == 1
    heads = [line for line in done.lines if not line.startswith("  ")]
    assert heads == [
        "❌ bad.yaml: 2 problems, 1 warning",
        "❌ none.yaml: 1 problem",
        "✅ good.yaml: valid, 1 task",
        "✅ odd.yaml: valid, 1 task, 1 warning",
        "❌ flow.txt: 1 problem",
    ]
    assert "tasks.b.dependencies: 'b' names 'c', which does not exist" in done.out
    assert "  - bad.yaml:2:1 notes: nothing reads the key 'notes' [warning]" in done.lines
    assert "  - Workflow file 'none.yaml' does not exist." in done.lines


def test_json_lists_the_same(highway: CommandLine) -> None:
    done = highway("validate", highway.write("bad.yaml", BAD), highway.write("good.yaml", GOOD), "--json")

    assert (done.code, done.err, done.json["valid"]) == (1, "", False)
    bad, good = done.json["files"]
    assert (bad["file"], bad["valid"], len(bad["problems"]), len(bad["warnings"])) == ("bad.yaml", False, 2, 1)
    assert {
        "place": "notes",
        "message": "nothing reads the key 'notes'",
        "hint": "",
        "position": "bad.yaml:2:1",
    } in bad["warnings"]
    assert good == {"file": "good.yaml", "valid": True, "name": "testing", "tasks": 1, "problems": [], "warnings": []}


def test_a_wrong_frame_hides_nothing_that_is_wrong_with_the_tasks(highway: CommandLine) -> None:
    document = workflow("a: {function: tools.log.inof, args: ['{{variables.n}}']}").replace(
        "name:", "variables: {n: 1}\nnmae:"
    )
    done = highway("validate", highway.write("flow.yaml", document), "--json")
    told = {one["place"]: one["message"] for one in done.json["files"][0]["problems"]}
    assert told.keys() == {"", "nmae", "tasks.a.function"}
    assert told[""] == "missing field 'name'"


def test_a_setting_that_cannot_be_used_is_one_error_for_all(highway: CommandLine) -> None:
    done = highway("validate", highway.write("good.yaml", GOOD), HIGHWAY_BULKHEADS="{")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("Error: HIGHWAY_BULKHEADS is not JSON")


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    done = CommandLine(tmp_path_factory.mktemp("schema"))("schema")
    assert (done.code, done.err) == (0, "")
    found: dict[str, Any] = json.loads(done.out)
    return found


def test_the_schema_is_a_json_schema_with_a_word_on_everything(schema: dict[str, Any]) -> None:
    Draft202012Validator.check_schema(schema)
    assert schema["title"] == "Highway workflow"
    assert schema["description"]
    assert all(schema["$defs"][model.__name__]["description"] for model in OPERATORS.values())


def _documents() -> list[Path]:
    examples = [path for path in sorted(EXAMPLES.glob("*.*")) if path.name != "graph_document.json"]
    return [*examples, *sorted((CLI.parent / "tests" / "data").glob("*_workflow.py"))]


@pytest.mark.parametrize("path", _documents(), ids=lambda path: path.name)
def test_the_schema_accepts_the_workflows_that_we_ship(schema: dict[str, Any], path: Path) -> None:
    Draft202012Validator(schema).validate(read_source(path).data)


@pytest.mark.parametrize("release", sorted(path.name for path in DSL_DOCUMENTS.glob("?.*.*")))
def test_the_schema_accepts_what_every_dsl_release_writes(schema: dict[str, Any], release: str) -> None:
    validator = Draft202012Validator(schema)
    documents = sorted((DSL_DOCUMENTS / release).rglob("*.yaml"))
    assert documents
    for path in documents:
        validator.validate(read_source(path).data)


@pytest.mark.parametrize(
    "task",
    [
        {"operator_type": "task", "function": "f", "retry_policy": {"delay": 5, "max_retries": 2}},
        {"operator_type": "task", "function": "f", "retry_policy": {"delay": "PT5S"}, "args": None},
        {"operator_type": "task", "function": "f", "timeout_policy": {"timeout_seconds": 5}},
        {"operator_type": "task", "function": "f", "depends_on": ["a"]},
        {"operator_type": "wait", "wait_for": 5},
        {"operator_type": "wait", "wait_for": "PT5S"},
    ],
)
def test_the_schema_takes_every_spelling_that_the_loader_takes(schema: dict[str, Any], task: dict[str, Any]) -> None:
    Draft202012Validator(schema).validate({"name": "n", "tasks": {"a": task}})


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"name": "n"},
        {"name": "n", "tasks": []},
        {"name": 5, "tasks": {}},
        {"name": "n", "tasks": {"a": {"function": "f"}}},
        {"name": "n", "tasks": {"a": {"operator_type": "tusk"}}},
        {"name": "n", "tasks": {"a": {"operator_type": "task", "args": 5}}},
        {"name": "n", "tasks": {"a": {"operator_type": "join", "join_tasks": []}}},
        {"name": "n", "tasks": {"a": {"operator_type": "task", "depends_on": "b"}}},
    ],
)
def test_the_schema_refuses_what_cannot_be_a_workflow(schema: dict[str, Any], document: dict[str, Any]) -> None:
    assert not Draft202012Validator(schema).is_valid(document)
