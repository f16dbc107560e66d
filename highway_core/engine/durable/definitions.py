"""Documents of durable runs: stored once by their hash, compiled once a process."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path
from typing import Protocol

from highway_core.engine.definitions import Definitions, Stamp, stamp
from highway_core.engine.graph import CompiledWorkflow
from highway_core.engine.loader import EVERY_NAME, compile_document, read_text
from highway_core.engine.validation import Tools
from highway_core.errors import RunError, StorageError

_MOST = 500
_MOST_STORED = 10_000


class DefinitionStore(Protocol):
    """Where documents are kept."""

    def definition(self, definition_hash: str) -> str | None: ...

    def newest_definition(self, workflow_name: str) -> str | None: ...

    def keep_definition(self, definition_hash: str, workflow_name: str, text: str) -> None: ...


class DurableDefinitions:
    """Compiled workflows by hash, and by name for tasks that start another workflow. Thread-safe."""

    def __init__(self, folder: Path | None, tools: Tools) -> None:
        self._tools = tools
        self._folders = [] if folder is None else [folder]
        self._compiled: OrderedDict[str, CompiledWorkflow] = OrderedDict()
        self._stored: OrderedDict[str, None] = OrderedDict()
        self._lock = threading.Lock()
        self._named = Definitions(self._folders, tools)
        self._stamp: Stamp | None = None
        self._looking = threading.Lock()

    def by_hash(self, definition_hash: str, store: DefinitionStore) -> CompiledWorkflow:
        """The workflow of a run; DocumentError if this process cannot carry it out (it lacks a tool)."""
        with self._lock:
            found = self._compiled.get(definition_hash)
            if found is not None:
                self._compiled.move_to_end(definition_hash)
                return found
        text = store.definition(definition_hash)
        if text is None:
            raise StorageError(f"The document {definition_hash} of a run is not in the database any more.")
        compiled = compile_document(read_text(text, "stored document"), self._tools, EVERY_NAME)[0]
        self.remember(compiled)
        return compiled

    def by_name(self, name: str, definition_id: str | None, store: DefinitionStore) -> CompiledWorkflow:
        """A workflow that a task starts: of that hash, else one of the folder, else the newest stored of that name."""
        if definition_id is not None:
            if store.definition(definition_id) is None:
                raise RunError(f"There is no workflow with the definition id '{definition_id}'.")
            return self.by_hash(definition_id, store)
        try:
            compiled = self._in_folder(name)
        except RunError as error:
            newest = store.newest_definition(name)
            if newest is None:
                raise RunError(f"{error} Nor has one of that name been submitted.") from None
            return self.by_hash(newest, store)
        self.keep(compiled, store)
        return compiled

    def _in_folder(self, name: str) -> CompiledWorkflow:
        """The folder is read anew if something in it has changed."""
        with self._looking:
            newest = stamp(self._folders)
            if newest != self._stamp:
                self._named, self._stamp = Definitions(self._folders, self._tools), newest
            return self._named.find(name)

    def remember(self, compiled: CompiledWorkflow) -> None:
        """Save the next one the compilation."""
        with self._lock:
            self._compiled[compiled.definition_hash] = compiled
            while len(self._compiled) > _MOST:
                self._compiled.popitem(last=False)

    def keep(self, compiled: CompiledWorkflow, store: DefinitionStore) -> None:
        """Have the document in the database."""
        if self.is_stored(compiled.definition_hash):
            return
        store.keep_definition(compiled.definition_hash, compiled.model.name, compiled.definition_json)
        self.remember(compiled)
        self.now_stored(compiled.definition_hash)

    def is_stored(self, definition_hash: str) -> bool:
        """True if this process has seen to it that the database has the document."""
        with self._lock:
            return definition_hash in self._stored

    def now_stored(self, definition_hash: str) -> None:
        with self._lock:
            self._stored[definition_hash] = None
            while len(self._stored) > _MOST_STORED:
                self._stored.popitem(last=False)
