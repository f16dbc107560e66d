"""The one way from a document, in any of its four shapes, to a :class:`~.graph.CompiledWorkflow`.

:func:`read_source` turns a file, a text, a dict or a ``highway_dsl.Workflow`` into plain data with positions;
:func:`compile_document` checks it and compiles it. Both raise DocumentError with every problem that they found.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from highway_core.engine.flatten import ScopeSource, gather_scope
from highway_core.engine.graph import CompiledWorkflow
from highway_core.engine.graph_builder import ScopeCompiler
from highway_core.engine.graph_documents import from_graph_document, is_graph_document
from highway_core.engine.lint import warn_about_dead_tasks
from highway_core.engine.models import BaseOperatorModel, WorkflowModel
from highway_core.engine.operator_parser import parse_workflow
from highway_core.engine.python_source import as_data, is_workflow, load_python
from highway_core.engine.report import Report
from highway_core.engine.schedules import check_schedule
from highway_core.engine.source_document import MAX_BYTES, SourceDocument
from highway_core.engine.validation import Checker, Tools
from highway_core.engine.yaml_reader import read_json, read_yaml
from highway_core.errors import DocumentError, Problem, ResultError
from highway_core.utils.json_values import dumps, to_storable

SUFFIXES = frozenset({".yaml", ".yml", ".json", ".py"})


@dataclass(frozen=True, slots=True)
class Source:
    """Plain data that may be a workflow, and where it came from."""

    data: Mapping[str, Any]
    name: str
    document: SourceDocument | None = None

    @property
    def text(self) -> str | None:
        """What :func:`read_text` reads as this document; None if it was not written, or would be read otherwise."""
        if self.document is None:
            return None
        taken_for_json = self.document.text.lstrip().startswith("{")
        return None if taken_for_json and not self.name.lower().endswith(".json") else self.document.text


def read_source(source: str | Path | Mapping[str, Any] | object) -> Source:
    """Read a path (``flow.yaml``, ``flow.json``, ``flow.py``, ``flow.py:name``), a dict or a ``highway_dsl.Workflow``.

    FileNotFoundError if there is no such file; DocumentError for what cannot be read.
    """
    if isinstance(source, (str, Path)):
        return _read_file(str(source))
    if isinstance(source, Mapping):
        return Source(source, "<dict>")
    if is_workflow(source) or hasattr(source, "build"):
        return Source(as_data(source, "<Workflow>"), "<Workflow>")
    raise DocumentError([Problem("", f"cannot read a workflow from {type(source).__name__}")])


def read_text(text: str | bytes, name: str = "<text>") -> Source:
    """Read YAML, or JSON if the text begins like it."""
    start = text.lstrip()[:1]
    document = read_json(text, name) if start in ("{", b"{") else read_yaml(text, name)
    return Source(document.data, name, document)


def split_pick(source: str) -> tuple[Path, str | None]:
    """``flow.py:name`` → the path and the name; anything else → the path and None."""
    head, separator, name = source.rpartition(":")
    if separator and head.endswith(".py") and name.isidentifier():
        return Path(head), name
    return Path(source), None


def _read_file(source: str) -> Source:
    path, pick = split_pick(source)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise DocumentError([Problem("", f"Unsupported file format '{path.suffix}'", "use .yaml, .yml, .json or .py")])
    if not path.is_file():
        raise FileNotFoundError(f"Workflow file '{path}' does not exist.")
    if suffix == ".py":
        return Source(load_python(path, pick), str(path))
    try:
        text = path.read_bytes()
    except OSError as error:
        raise DocumentError([Problem("", f"the file cannot be read: {error.strerror}", position=str(path))]) from error
    document = read_json(text, str(path)) if suffix == ".json" else read_yaml(text, str(path))
    return Source(document.data, str(path), document)


class _EveryName(frozenset[str]):
    """Holds whatever is looked for in it."""

    def __contains__(self, name: object) -> bool:
        return True

    def __bool__(self) -> bool:
        return True


EVERY_NAME: frozenset[str] = _EveryName()
"""The inputs of a document that was checked against its run's inputs before: nobody need know them to compile it."""


def compile_document(
    source: Source,
    tools: Tools | None = None,
    inputs: Iterable[str] | None = None,
    instead: Mapping[str, Any] | None = None,
) -> tuple[CompiledWorkflow, list[Problem]]:
    """Check ``source`` and compile it; the second value holds the warnings.

    ``tools`` is asked for every function that a task names; ``inputs`` are the names that the run will be given (None:
    not known yet). ``instead`` replaces keys of the document.
    """
    report = Report(source.document, source.name)
    data = source.data
    if is_graph_document(data):
        data = from_graph_document(data, report)
        report.raise_any()
    if instead:
        data = {**data, **instead}
    model = parse_workflow(data, report)
    if model is None:
        report.raise_any()
        raise AssertionError("a document without a model has a problem")
    check_schedule(model, report)
    scope = _flatten(model, report)
    names = inputs if inputs is None or isinstance(inputs, frozenset) else frozenset(inputs)
    Checker(report, frozenset(model.variables), names, tools).check(scope)
    graph = ScopeCompiler(scope, report).compile()
    text = _canonical(data, report)
    report.raise_any()
    assert graph is not None  # noqa: S101 - without problems there is one
    warn_about_dead_tasks(graph, scope, report)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return CompiledWorkflow(model, graph, text, digest, source.name), report.warnings


def _flatten(model: WorkflowModel, report: Report) -> ScopeSource:
    for name, value in _branch_variables(model.tasks.values()):
        model.variables.setdefault(name, value)
    entries = ((task_id, task, ("tasks", task_id)) for task_id, task in model.tasks.items())
    return gather_scope(entries, report)


def _branch_variables(tasks: Iterable[BaseOperatorModel]) -> Iterator[tuple[str, Any]]:
    """The variables of all branch workflows, at any depth: they are the run's, unless it has its own of that name."""
    for task in tasks:
        for branch in getattr(task, "branch_workflows", {}).values():
            yield from branch.variables.items()
            yield from _branch_variables(branch.tasks.values())
        yield from _branch_variables(getattr(task, "loop_body", ()))


def as_json(source: Source) -> dict[str, Any]:
    """The document as plain JSON, unchecked; DocumentError if it holds what JSON cannot."""
    report = Report(source.document, source.name)
    text = _canonical(source.data, report)
    report.raise_any()
    document: dict[str, Any] = json.loads(text)
    return document


def _canonical(data: Mapping[str, Any], report: Report) -> str:
    try:
        return dumps(data)
    except (TypeError, ValueError):
        pass  # a document that was made in Python may hold datetimes and the like
    try:
        return to_storable(data, max_bytes=MAX_BYTES, name="document")[1]
    except ResultError as error:
        report.add((), f"the document cannot be stored: {error}")
        return ""
