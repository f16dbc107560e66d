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

Stamp = tuple[tuple[str, int, int, int], ...]


def stamp(folders: Iterable[Path]) -> Stamp:
    """Another one as soon as a document in one of the folders is another: path, time, size and inode of each."""
    found = []
    for file in _documents(folders):
        try:
            about = file.stat()
        except OSError:
            continue  # it has gone meanwhile
        found.append((str(file), about.st_mtime_ns, about.st_size, about.st_ino))
    return tuple(found)


class Definitions:
    """The workflows that can be started by name: those given, then the files of ``folders`` in order.

    A file is found by its stem, or by the ``name`` in it, and read once.
    """

    def __init__(self, folders: Iterable[Path], tools: Tools, known: Iterable[CompiledWorkflow] = ()) -> None:
        self._folders = list(folders)
        self._tools = tools
        self._names: dict[Path, str | None] = {}
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
        files = _documents(self._folders)
        for file in files:
            if file.stem == name:
                return self._compiled(file)
        for file in files:
            if file.suffix != ".py" and self._name_in(file) == name:
                return self._compiled(file)
        hint = did_you_mean(name, [*self._by_name, *(file.stem for file in files)])
        where = f" in {', '.join(map(str, self._folders))}" if self._folders else ""
        way_out = "Put its document there" if self._folders else "Set HIGHWAY_WORKFLOWS_DIR to the folder that has it"
        raise RunError(f"There is no workflow '{name}'{where}. {hint or f'{way_out}.'}")

    def _name_in(self, file: Path) -> str | None:
        if file not in self._names:
            self._names[file] = _name_in(file)
        return self._names[file]

    def _compiled(self, file: Path) -> CompiledWorkflow:
        return compile_document(read_source(file), self._tools)[0]


def _documents(folders: Iterable[Path]) -> list[Path]:
    there = [folder for folder in folders if folder.is_dir()]
    return [file for folder in there for file in sorted(folder.iterdir()) if file.suffix in SUFFIXES]


def _name_in(file: Path) -> str | None:
    try:
        name = read_source(file).data.get("name")
    except DocumentError:
        return None
    return name if isinstance(name, str) else None
