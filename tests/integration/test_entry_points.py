"""The entry point of the existing library: ``run_workflow_from_yaml`` keeps its keys and texts, and does not raise."""

from __future__ import annotations

from pathlib import Path

import pytest

from highway_core.engine.engine import run_workflow_from_yaml
from highway_core.persistence.in_memory import InMemoryPersistenceManager

HELLO = "name: hello\ntasks:\n  a: {operator_type: task, function: tools.memory.set, args: [k, 1]}\n"


def test_a_completed_run_gives_its_id_and_no_error(tmp_path: Path) -> None:
    (tmp_path / "flow.yaml").write_text(HELLO)
    told = run_workflow_from_yaml(str(tmp_path / "flow.yaml"), "r", InMemoryPersistenceManager())
    assert (told["status"], told["workflow_id"], told["error"]) == ("completed", "r", None)


def test_an_unknown_tool_is_named_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "flow.yaml").write_text(HELLO.replace("memory.set", "memory.sat"))
    told = run_workflow_from_yaml(str(tmp_path / "flow.yaml"), "r", InMemoryPersistenceManager())
    assert told["status"] == "failed"
    assert "Function 'tools.memory.sat' not found in registry" in told["error"]


def test_a_failing_task_gives_its_own_words(tmp_path: Path) -> None:
    (tmp_path / "flow.yaml").write_text(
        HELLO.replace("tools.memory.set, args: [k, 1]", "tools.command.run, args: ['false']")
    )
    told = run_workflow_from_yaml(str(tmp_path / "flow.yaml"), "r", InMemoryPersistenceManager())
    assert told["status"] == "failed" and "Command failed with exit code 1" in told["error"]


@pytest.mark.parametrize("text", [None, "- a\n- list\n", "a: [", HELLO.replace("task,", "tusk,")])
def test_what_cannot_be_read_is_told_and_not_raised(text: str | None, tmp_path: Path) -> None:
    path = tmp_path / "flow.yaml"
    if text is not None:
        path.write_text(text)
    told = run_workflow_from_yaml(str(path), persistence_manager=InMemoryPersistenceManager())
    assert told["status"] == "failed"
    assert told["error"].startswith("Failed to load or parse YAML: ")
