"""What each highway-dsl release wrote loads, runs, and ends the same way (``tests/data/dsl/expected.yaml``)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml

from highway_core.config import Settings
from highway_core.engine.engine import run_workflow
from highway_core.lifecycle import TaskStatus
from highway_core.persistence.in_memory import InMemoryPersistenceManager
from highway_core.utils.json_values import loads

CORPUS = Path(__file__).parent.parent / "data" / "dsl"
EXPECTED: Mapping[str, Mapping[str, Any]] = yaml.safe_load((CORPUS / "expected.yaml").read_text(encoding="utf-8"))
FILES = sorted(path for path in CORPUS.glob("*/*") if path.suffix in {".yaml", ".json"})
RELEASES = ("1.0.2", "1.1.0", "1.3.0", "2.0.0", "2.0.2", "2.1.4", "2.2.0")


@dataclass(frozen=True)
class Outcome:
    """How a run ended, without what a release says in other words: the order of keys, why a task was skipped."""

    name: str
    status: str
    error: str | None
    result: Any
    tasks: Mapping[str, str]
    values: Mapping[str, Any]
    errors: Mapping[str, str | None]
    attempts: Mapping[str, int]
    results: Mapping[str, Any]
    memory: Mapping[str, Any]
    variables: Mapping[str, Any]


@cache
def outcome_of(path: Path) -> Outcome:
    store = InMemoryPersistenceManager()
    run_workflow(path, "run", persistence_manager=store, settings=Settings())
    saved = store.load_run("run")
    assert saved is not None
    state, _ = store.load_workflow_state("run")
    assert state is not None
    rows = saved.tasks.items()
    return Outcome(
        name=saved.record.workflow_name,
        status=saved.status.value,
        error=saved.error_message,
        result=loads(saved.result_json or "null"),
        tasks={task: row.status.value for task, row in rows},
        values={task: loads(row.result_json) for task, row in rows if row.result_json is not None},
        errors={task: row.error_message for task, row in rows if row.status is not TaskStatus.SKIPPED},
        attempts={task: row.attempt for task, row in rows},
        results=state.results,
        memory=saved.memory,
        variables=saved.variables,
    )


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_a_document_of_any_release_ends_as_expected(path: Path) -> None:
    expected, outcome = EXPECTED[path.stem], outcome_of(path)
    assert outcome.name == expected.get("name", path.stem)
    assert outcome.status == expected["run"], outcome.error
    assert outcome.tasks == {task: status for status, tasks in expected["tasks"].items() for task in tasks}
    if expected["run"] == "completed":
        assert outcome.error is None
    assert expected.get("error", "") in (outcome.error or "")
    for task, part in expected.get("errors", {}).items():
        assert part in (outcome.errors[task] or "")
    for key, value in expected.get("results", {}).items():
        assert outcome.results.get(key) == value
    for steps, value in expected.get("paths", {}).items():
        assert _follow(outcome.results, steps) == value
    for task, attempts in expected.get("attempts", {}).items():
        assert outcome.attempts[task] == attempts


@pytest.mark.parametrize("name", sorted({path.stem for path in FILES}))
def test_a_workflow_has_one_outcome_whichever_release_wrote_it(name: str) -> None:
    first, *others = [path for path in FILES if path.stem == name]
    for other in others:
        assert outcome_of(other) == outcome_of(first), f"{other.parent.name} and {first.parent.name}"


def _follow(value: Any, steps: str) -> Any:
    for step in steps.split("."):
        value = value[step]
    return value


def test_every_release_is_in_the_corpus_and_every_expectation_is_used() -> None:
    assert {path.parent.name for path in FILES} == set(RELEASES)
    assert {path.stem for path in FILES} == set(EXPECTED)


def test_the_installed_release_still_writes_what_is_kept(tmp_path: Path) -> None:
    kept = CORPUS / version("highway-dsl")
    if not kept.is_dir():
        pytest.skip(f"{kept.name} is not one of the releases that are kept")
    script = tmp_path / "generate.py"
    script.write_bytes((CORPUS / "generate.py").read_bytes())
    subprocess.run([sys.executable, script], check=True, capture_output=True, env={**os.environ, "PYTHONPATH": ""})
    written = {path.name: path.read_bytes() for path in (tmp_path / kept.name).iterdir()}
    assert written == {path.name: path.read_bytes() for path in kept.iterdir()}
