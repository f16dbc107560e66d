"""Workflows that are built in a Python file with ``highway-dsl``.

The file defines exactly one of: a ``Workflow`` object, or a function without arguments that returns one (its name
contains "workflow", or it is annotated so, or it is the only such function). More than one candidate is an error that
lists them; ``file.py:name`` picks one.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from highway_core.errors import DocumentError, Problem


def load_python(path: Path, name: str | None = None) -> dict[str, Any]:
    """The document that the file builds, as plain data; DocumentError says why it builds none."""
    return as_data(build_workflow(path, name), str(path))


def build_workflow(path: Path, name: str | None = None) -> Any:
    """The ``highway_dsl.Workflow`` that the file builds; DocumentError if it names no one object for it."""
    module = _import(path)
    found = _candidates(module)
    if name is not None:
        if name not in vars(module):
            raise _error(path, f"the file defines no '{name}'", f"it has {', '.join(found) or 'no workflow'}")
        chosen = vars(module)[name]
    else:
        chosen = _only_one(path, found)
    return _called(chosen, path) if _is_plain_function(chosen) else chosen


def _called(function: Callable[[], Any], path: Path) -> Any:
    try:
        return function()
    except (Exception, SystemExit) as error:
        what = f"{function.__name__}() could not build the workflow"
        raise _error(path, f"{what}: {type(error).__name__}: {error}") from error


def as_data(workflow: Any, source: str) -> dict[str, Any]:
    """A ``highway_dsl.Workflow``, of any release, as plain data."""
    if hasattr(workflow, "build") and hasattr(workflow, "workflow"):
        workflow = workflow.build()  # a WorkflowBuilder: the last call was forgotten
    if not is_workflow(workflow):
        raise _error(Path(source), f"expected a highway_dsl Workflow, got {type(workflow).__name__}")
    data: dict[str, Any] = workflow.model_dump(mode="json")
    return data


def is_workflow(value: Any) -> bool:
    """True for a ``highway_dsl.Workflow`` object. Does not import the package: whoever has one has imported it."""
    return any(
        one.__name__ == "Workflow" and one.__module__.partition(".")[0] == "highway_dsl" for one in type(value).__mro__
    )


def _import(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"highway_workflow_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise _error(path, "this is not a Python file")
    module = importlib.util.module_from_spec(spec)
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)  # the file may import what lies beside it
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise _error(path, f"the file could not be imported: {type(error).__name__}: {error}") from error
    finally:
        sys.path.remove(folder)
    return module


def _candidates(module: ModuleType) -> dict[str, Any]:
    """Name → object, of everything in the module that may be the workflow."""
    public = {name: value for name, value in vars(module).items() if not name.startswith("_")}
    functions = {
        name: value
        for name, value in public.items()
        if _is_plain_function(value) and value.__module__ == module.__name__ and _takes_nothing(value)
    }
    named = {name: one for name, one in functions.items() if "workflow" in name.lower() or _returns_workflow(one)}
    objects: dict[str, Any] = {}
    for name, value in public.items():
        if is_workflow(value) and not any(value is other for other in objects.values()):
            objects[name] = value
    return objects | named or functions


def _only_one(path: Path, found: dict[str, Any]) -> Any:
    if len(found) == 1:
        return next(iter(found.values()))
    if not found:
        raise _error(
            path,
            "the file defines no workflow",
            "it needs a highway_dsl Workflow object, or a function without arguments that returns one",
        )
    picks = " or ".join(f"{path.name}:{name}" for name in found)
    raise _error(path, f"the file defines {len(found)} workflows: {', '.join(found)}", f"pick one with {picks}")


def _is_plain_function(value: Any) -> bool:
    return inspect.isfunction(value)


def _takes_nothing(function: Callable[..., Any]) -> bool:
    parameters = inspect.signature(function).parameters.values()
    return all(one.default is not one.empty or one.kind in {one.VAR_POSITIONAL, one.VAR_KEYWORD} for one in parameters)


def _returns_workflow(function: Callable[..., Any]) -> bool:
    returned = inspect.signature(function).return_annotation
    return "Workflow" in (returned if isinstance(returned, str) else getattr(returned, "__name__", ""))


def _error(path: Path, message: str, hint: str = "") -> DocumentError:
    return DocumentError([Problem("", message, hint, str(path))], str(path))
