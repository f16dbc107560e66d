"""Workflows by name: for a task that starts another workflow.

A name is looked up among the documents of a few folders, never joined to a path.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from highway_core.engine.graph import CompiledWorkflow
from highway_core.engine.loader import SUFFIXES, compile_document, read_source
from highway_core.engine.validation import Tools
from highway_core.errors import DocumentError, RunError
from highway_core.utils.naming import did_you_mean


class Definitions:
    """The workflows that can be started by name: those given, then the files of ``folders`` in order.

    A file is found by its stem, or by the ``name`` in it.
    """

    def __init__(self, folders: Iterable[Path], tools: Tools, known: Iterable[CompiledWorkflow] = ()) -> None:
        self._folders = [folder for folder in folders if folder.is_dir()]
        self._tools = tools
        self._by_name = {workflow.model.name: workflow for workflow in known}
        self._by_hash = {workflow.definition_hash: workflow for workflow in known}

    def find(self, name: str, definition_id: str | None = None) -> CompiledWorkflow:
        """The workflow of that content hash, else of that name; RunError if there is none."""
        if definition_id is not None:
            found = self._by_hash.get(definition_id)
            if found is None:
                raise RunError(f"There is no workflow with the definition id '{definition_id}'.")
            return found
        if name not in self._by_name:
            self._by_name[name] = self._load(name)
        return self._by_name[name]

    def _load(self, name: str) -> CompiledWorkflow:
        files = [file for folder in self._folders for file in sorted(folder.iterdir()) if file.suffix in SUFFIXES]
        for file in files:
            if file.stem == name:
                return self._compiled(file)
        for file in files:
            if file.suffix != ".py" and _name_in(file) == name:
                return self._compiled(file)
        where = ", ".join(str(folder) for folder in self._folders) or "no folder"
        hint = did_you_mean(name, [*self._by_name, *(file.stem for file in files)])
        raise RunError(f"There is no workflow '{name}' in {where}. {hint or 'Set HIGHWAY_WORKFLOWS_DIR.'}")

    def _compiled(self, file: Path) -> CompiledWorkflow:
        return compile_document(read_source(file), self._tools)[0]


def _name_in(file: Path) -> str | None:
    try:
        name = read_source(file).data.get("name")
    except DocumentError:
        return None
    return name if isinstance(name, str) else None
