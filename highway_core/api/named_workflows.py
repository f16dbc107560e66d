"""Workflows that are started by name: documents in HIGHWAY_WORKFLOWS_DIR, then those that the database knows.

A name is compared with names that exist and never made into a path. Only YAML and JSON are read: a Python file is code,
and no request makes this process run any. The folder comes first, so that nobody who may only start runs can put
another document under a name that the folder has.
"""

from __future__ import annotations

import json
import re
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from highway_core.api.problems import ApiError, not_found
from highway_core.engine.graph import CompiledWorkflow
from highway_core.engine.loader import Source, compile_document, read_source, read_text
from highway_core.engine.validation import Tools
from highway_core.errors import DocumentError
from highway_core.persistence.run_reads import RunReads
from highway_core.utils.json_values import dumps
from highway_core.utils.naming import did_you_mean

_NAME = re.compile(r"[A-Za-z0-9][\w .-]{0,199}", re.ASCII)
_SUFFIXES = frozenset({".yaml", ".yml", ".json"})
_MOST_COMPILED = 200
_LARGEST_REMEMBERED = 256 * 1024


class NamedWorkflows:
    """Finds and compiles what is to be started; remembers what it compiled. Thread-safe."""

    def __init__(self, folder: Path | None, reads: RunReads, tools: Tools) -> None:
        self._folder = folder
        self._reads = reads
        self._tools = tools
        self._lock = threading.Lock()
        self._compiled: OrderedDict[str, CompiledWorkflow] = OrderedDict()

    def named(self, name: str, inputs: Iterable[str]) -> CompiledWorkflow:
        """The workflow of that name; a 404 if there is none."""
        if not _NAME.fullmatch(name):
            raise ApiError(404, "workflow_not_found", "Workflow not found", "That cannot be the name of a workflow.")
        source = self._in_folder(name)
        if source is None:
            stored = self._reads.newest_definition(name)
            if stored is None:
                raise self._unknown(name)
            source = Source(json.loads(stored[1]), name)
        return self._compile(source, inputs)

    def given(self, document: Mapping[str, Any] | str, inputs: Iterable[str]) -> CompiledWorkflow:
        """A document that came with the request, as an object or as YAML or JSON text."""
        source = read_text(document, "document") if isinstance(document, str) else Source(document, "document")
        return self._compile(source, inputs)

    def names(self) -> list[str]:
        """The names of the folder's files."""
        return sorted({file.stem for file in self._files()})

    def _compile(self, source: Source, inputs: Iterable[str]) -> CompiledWorkflow:
        names = sorted(inputs)
        key = _key(source, names)
        with self._lock:
            if key in self._compiled:
                self._compiled.move_to_end(key)
                return self._compiled[key]
        workflow = compile_document(source, self._tools, names)[0]
        if key:
            with self._lock:
                self._compiled[key] = workflow
                if len(self._compiled) > _MOST_COMPILED:
                    self._compiled.popitem(last=False)
        return workflow

    def _in_folder(self, name: str) -> Source | None:
        """By the name of the file, else by the name in the document."""
        files = self._files()
        for file in files:
            if file.stem == name:
                return read_source(file)
        for file in files:
            try:
                source = read_source(file)
            except (DocumentError, OSError):
                continue  # its problems are told to whoever starts it by the name of the file
            if source.data.get("name") == name:
                return source
        return None

    def _files(self) -> list[Path]:
        """Documents of the folder; what a link leads to from outside is none of them."""
        if self._folder is None or not self._folder.is_dir():
            return []
        folder = self._folder.resolve()
        return [file for file in sorted(folder.iterdir()) if file.suffix in _SUFFIXES and _lies_in(file, folder)]

    def _unknown(self, name: str) -> ApiError:
        hint = did_you_mean(name, self.names())
        text = f"There is no workflow '{name}'. {hint or 'Submit its document, or put it into HIGHWAY_WORKFLOWS_DIR.'}"
        return not_found("workflow_not_found", "Workflow not found", text)


def _lies_in(file: Path, folder: Path) -> bool:
    real = file.resolve()
    return real.is_file() and real.is_relative_to(folder)


def _key(source: Source, names: list[str]) -> str:
    """The same for what compiles to the same; empty for what is not worth remembering."""
    try:
        text = dumps([source.data, names])
    except (TypeError, ValueError):
        return ""  # a YAML document with dates in it
    return sha256(text.encode()).hexdigest() if len(text) <= _LARGEST_REMEMBERED else ""
