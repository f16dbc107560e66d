"""Workflows that a task of a durable run starts by name: from the folder, which is read once and when it changes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from highway_core.config import Settings
from highway_core.engine import definitions
from highway_core.engine.durable.definitions import DurableDefinitions
from highway_core.engine.loader import Source, read_source
from highway_core.errors import RunError
from highway_core.tools.registry import ToolRegistry

DOCUMENT = "name: {name}\ntasks: {{only: {{operator_type: wait, wait_for: {wait}}}}}\n"


class Documents:
    """A database with documents, and none of the names that tests ask for but one."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}

    def definition(self, definition_hash: str) -> str | None:
        return self.kept.get(definition_hash)

    def newest_definition(self, workflow_name: str) -> str | None:
        return None

    def keep_definition(self, definition_hash: str, workflow_name: str, text: str) -> None:
        self.kept[definition_hash] = text


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that are read, in order."""
    files: list[Path] = []

    def noted(file: Path) -> Source:
        files.append(file)
        return read_source(file)

    monkeypatch.setattr(definitions, "read_source", noted)
    return files


def write(folder: Path, file: str, name: str, wait: str = "PT1S") -> None:
    (folder / f"{file}.yaml").write_text(DOCUMENT.format(name=name, wait=wait))


def in_folder(folder: Path | None) -> DurableDefinitions:
    return DurableDefinitions(folder, ToolRegistry(Settings()))


def test_a_folder_is_read_once_however_often_its_workflows_are_started(tmp_path: Path, reads: list[Path]) -> None:
    for number in range(20):
        write(tmp_path, f"file{number:02}", f"flow{number:02}")
    known, store = in_folder(tmp_path), Documents()
    for _ in range(3):
        assert known.by_name("flow19", None, store).model.name == "flow19"
        assert known.by_name("flow07", None, store).model.name == "flow07"
        assert known.by_name("file03", None, store).model.name == "flow03"
    assert len(reads) == 20 + 3, "each for its name, and those that were asked for"


def test_a_document_that_was_changed_is_the_new_one_from_then_on(tmp_path: Path, reads: list[Path]) -> None:
    write(tmp_path, "flow", "flow")
    known, store = in_folder(tmp_path), Documents()
    before = known.by_name("flow", None, store)
    about = (tmp_path / "flow.yaml").stat()
    write(tmp_path, "flow", "flow", "PT2S")  # as long as before
    os.utime(tmp_path / "flow.yaml", ns=(about.st_atime_ns, about.st_mtime_ns + 1))
    after = known.by_name("flow", None, store)
    assert after.definition_hash != before.definition_hash
    assert len(store.kept) == 2
    (tmp_path / "flow.yaml").unlink()
    with pytest.raises(RunError):
        known.by_name("flow", None, store)
    write(tmp_path, "other", "flow")
    assert known.by_name("flow", None, store).definition_hash == before.definition_hash
    assert reads


def test_a_document_that_was_put_there_just_now_is_found(tmp_path: Path) -> None:
    known, store = in_folder(tmp_path), Documents()
    with pytest.raises(RunError):
        known.by_name("flow", None, store)
    write(tmp_path, "flow", "flow")
    assert known.by_name("flow", None, store).model.name == "flow"


@pytest.mark.parametrize(
    ("name", "has_folder", "told"),
    [
        ("nothing", False, "no workflow 'nothing'. Set HIGHWAY_WORKFLOWS_DIR to the folder that has it. Nor has one"),
        ("nothing", True, "Put its document there. Nor has one of that name been submitted."),
        ("flwo", True, "did you mean 'flow'?"),
    ],
)
def test_what_is_not_there_is_told_with_what_to_do(tmp_path: Path, name: str, has_folder: bool, told: str) -> None:
    write(tmp_path, "flow", "flow")
    with pytest.raises(RunError) as refused:
        in_folder(tmp_path if has_folder else None).by_name(name, None, Documents())
    assert told in str(refused.value)
