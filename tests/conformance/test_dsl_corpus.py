"""What each highway-dsl release wrote loads, runs, and ends the same way (``tests/data/dsl/expected.yaml``)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml

from highway_core.config import Settings
from highway_core.engine.engine import run_workflow
from highway_core.persistence.in_memory import InMemoryPersistenceManager

CORPUS = Path(__file__).parent.parent / "data" / "dsl"
EXPECTED: Mapping[str, Mapping[str, Any]] = yaml.safe_load((CORPUS / "expected.yaml").read_text(encoding="utf-8"))
FILES = sorted(path for path in CORPUS.glob("*/*") if path.suffix in {".yaml", ".json"})
RELEASES = ("1.0.2", "1.1.0", "1.3.0", "2.0.0", "2.0.2", "2.1.4", "2.2.0")


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_a_document_of_any_release_ends_as_expected(path: Path) -> None:
    expected = EXPECTED[path.stem]
    store = InMemoryPersistenceManager()
    run_workflow(path, "run", persistence_manager=store, settings=Settings())
    saved = store.load_run("run")
    assert saved is not None
    state, _ = store.load_workflow_state("run")
    assert state is not None

    assert saved.record.workflow_name == expected.get("name", path.stem)
    assert saved.status.value == expected["run"], saved.error_message
    assert {task: row.status.value for task, row in saved.tasks.items()} == {
        task: status for status, tasks in expected["tasks"].items() for task in tasks
    }
    assert expected.get("error", "") in (saved.error_message or "")
    for task, part in expected.get("errors", {}).items():
        assert part in (saved.tasks[task].error_message or "")
    for key, value in expected.get("results", {}).items():
        assert state.results.get(key) == value
    for steps, value in expected.get("paths", {}).items():
        assert _follow(state.results, steps) == value
    for task, attempts in expected.get("attempts", {}).items():
        assert saved.tasks[task].attempt == attempts


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
    written = {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / kept.name).iterdir()}
    assert written == {path.name: path.read_text(encoding="utf-8") for path in kept.iterdir()}
