"""The files that a command was given: workflows and variables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from highway_core.engine.loader import split_pick
from highway_core.engine.python_source import build_workflow
from highway_core.engine.source_document import TOP_HINT
from highway_core.engine.yaml_reader import read_json, read_yaml
from highway_core.errors import DocumentError, Problem


def check_workflow_file(source: str) -> None:
    """FileNotFoundError if there is none, DocumentError if it cannot be one."""
    path, _ = split_pick(source)
    try:
        exists, is_folder = path.exists(), path.is_dir()
    except OSError as error:
        raise DocumentError([Problem("", f"'{path}' cannot be read: {error.strerror}")]) from error
    if not exists:
        raise FileNotFoundError(f"Workflow file '{path}' does not exist.")
    if is_folder:
        raise DocumentError([Problem("", f"'{path}' is a folder, not a workflow file")])


def read_variables(file: str | None) -> dict[str, Any]:
    """What a YAML or JSON file of ``--vars-file`` holds. FileNotFoundError or DocumentError if it cannot be used."""
    if file is None:
        return {}
    path = Path(file)
    try:
        if not path.is_file():
            raise FileNotFoundError(f"Variables file '{path}' does not exist.")
        text = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DocumentError([Problem("", f"'{path}' cannot be read: {error.strerror}")]) from error
    read = read_json if path.suffix.lower() == ".json" else read_yaml
    try:
        return read(text, str(path)).data
    except DocumentError as error:
        raise DocumentError([_without_workflow_hint(problem) for problem in error.problems], error.source) from error


def load_workflow_from_python(path: str) -> Any:
    """The ``highway_dsl.Workflow`` that a Python file builds; DocumentError says why it builds none."""
    return build_workflow(*split_pick(path))


def _without_workflow_hint(problem: Problem) -> Problem:
    """The reader's hints speak of workflows."""
    hint = "variables are a mapping of names to values" if problem.hint == TOP_HINT else problem.hint
    return Problem(problem.place, problem.message, hint, problem.position)
