"""What one task sees when it starts: :class:`DataView` finds a reference among the run's data.

A path that starts with ``variables``, ``inputs``, ``results``, ``memory``, ``run``, ``secrets`` or ``env`` is looked up
there. Everything else, and such a path that finds nothing there, is a bare name. It is looked for, in this order,
among: the names of the moment (``extras``), loop variables, results by ``result_key``, tasks by id, variables, inputs.
The first of them that knows the name decides; where its value lacks a later step of the path, nothing further is tried.

Loop variables are ``item`` (``current_item``) and ``index`` (from 0) and ``iteration`` (from 1) of the innermost loop,
``loop_context.item`` and so on, and ``<loop operator id>.item`` for any loop around the task. ``while`` binds no item,
so that ``item`` inside it is still that of the ``foreach`` around it. A task's result is ``<task_id>``,
``<task_id>.output`` or, for the event that it waited for, ``<task_id>.payload``; a result that really has such a key
gives that key.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from highway_core.engine.references import (
    MISSING,
    Reference,
    did_you_mean,
    explain_missing_step,
    listed,
    walk,
)
from highway_core.errors import UnknownReferenceError

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})
_ALIASES: Final = frozenset({"output", "payload"})
_LOOP_NAMES: Final = frozenset({"item", "current_item", "index", "iteration"})

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class LoopFrame:
    """One loop around the task. ``item`` is MISSING in a ``while``; ``index`` counts from 0."""

    operator_id: str
    item: Any = MISSING
    index: int = 0


def _none(_name: str) -> str | None:
    return None


@dataclass(slots=True, eq=False)
class DataView:
    """A :class:`~highway_core.engine.references.Lookup` over the run's own mappings.

    It is made for every task that starts, so it copies nothing and is not frozen (that would double its cost).
    ``outputs`` are results by task id, ``loops`` the innermost last, ``extras`` names that only this task has
    (``failed_task_id``, ``error_message``, ``result`` in a postcondition, ``output`` for CEL). ``nullable`` are the
    result keys and task ids that the document has but that were skipped: they and whatever is below them are null.
    """

    variables: Mapping[str, Any]
    inputs: Mapping[str, Any]
    results: Mapping[str, Any]
    outputs: Mapping[str, Any]
    memory: Mapping[str, Any]
    loops: Sequence[LoopFrame] = ()
    extras: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    run: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    secret: Callable[[str], str | None] = _none
    env: Callable[[str], str | None] = _none
    nullable: Container[str] = frozenset()

    def lookup(self, reference: Reference) -> Any:
        """The value; UnknownReferenceError says what exists instead."""
        value = self.find(reference)
        if value is MISSING:
            raise UnknownReferenceError(f"{reference}: {self._explain(reference.path)}.")
        return value

    def find(self, reference: Reference) -> Any:
        """The value, or MISSING."""
        path = reference.path
        value, start = self._root(path)
        if start < len(path) and value is not MISSING:
            value = walk(value, path, start)
        if value is MISSING and len(path) > 2:
            value = self._task_of_dotted_id(path)
        return value

    def context(self) -> Mapping[str, Any]:
        """Everything by its bare name, and the namespaces, where no bare name hides them."""
        spaces = {
            "variables": self.variables,
            "inputs": self.inputs,
            "results": self.results,
            "memory": self.memory,
            "run": self.run,
        }
        return {
            **spaces,
            **self.inputs,
            **self.variables,
            **self.outputs,
            **self.results,
            **self._loop_names(),
            **self.extras,
        }

    def _root(self, path: Path) -> tuple[Any, int]:
        """The value that the first names of the path stand for, and how many of them that took."""
        name = path[0]
        namespace = _NAMESPACES.get(name)
        if namespace is not None and len(path) > 1:
            value = namespace(self, path[1])
            if value is not MISSING:
                return value, 2
            if name == "results" and str(path[1]) in self.nullable:
                return None, len(path)
        if name == "ds" and (day := self._date()) is not MISSING:
            return day, 1
        if name in self.extras:
            return self.extras[str(name)], 1
        if self.loops:
            found = self._loop_variable(path)
            if found[0] is not MISSING:
                return found
        return self._bare(str(name), path)

    def _bare(self, name: str, path: Path) -> tuple[Any, int]:
        if name in self.results:
            return self.results[name], 1 + self._is_alias(self.results[name], path, name in self.outputs)
        if name in self.outputs:
            return self.outputs[name], 1 + self._is_alias(self.outputs[name], path, True)
        if name in self.nullable:
            return None, len(path)
        if name in self.variables:
            return self.variables[name], 1
        if name in self.inputs:
            return self.inputs[name], 1
        return (self._whole_namespace(name) if len(path) == 1 else MISSING), 1

    @staticmethod
    def _is_alias(value: Any, path: Path, is_task: bool) -> bool:
        """True for ``<task_id>.output``, which is the result itself."""
        if not is_task or len(path) < 2 or path[1] not in _ALIASES:
            return False
        return not (isinstance(value, dict) and path[1] in value)

    def _whole_namespace(self, name: str) -> Any:
        match name:
            case "variables":
                return dict(self.variables)
            case "inputs":
                return dict(self.inputs)
            case "results":
                return dict(self.results)
            case "memory":
                return dict(self.memory)
            case "run":
                return dict(self.run)
            case "workflow_run_id":  # the run's id, as highway-dsl's own documentation spells it
                return self.run.get("id", MISSING)
            case _:
                return MISSING

    def _loop_variable(self, path: Path) -> tuple[Any, int]:
        name = path[0]
        if name in _LOOP_NAMES:
            return self._innermost(name), 1
        if len(path) > 1 and path[1] in _LOOP_NAMES:
            if name == "loop_context":
                return self._innermost(path[1]), 2
            for frame in reversed(self.loops):
                if frame.operator_id == name:
                    return _of_frame(frame, path[1]), 2
        return MISSING, 1

    def _innermost(self, name: str | int) -> Any:
        if name not in {"item", "current_item"}:
            return _of_frame(self.loops[-1], name)
        for frame in reversed(self.loops):
            if frame.item is not MISSING:
                return frame.item
        return MISSING

    def _loop_names(self) -> dict[str, Any]:
        names = {name: self._innermost(name) for name in sorted(_LOOP_NAMES)} if self.loops else {}
        return {name: value for name, value in names.items() if value is not MISSING}

    def _task_of_dotted_id(self, path: Path) -> Any:
        """A branch task that is taken twice is called ``<parallel>.<branch>.<id>``."""
        for length in range(len(path), 1, -1):
            task_id = ".".join(map(str, path[:length]))
            if task_id in self.outputs:
                value = self.outputs[task_id]
                return walk(value, path, length + self._is_alias(value, path[length - 1 :], True))
            if task_id in self.nullable:
                return None
        return MISSING

    def _date(self) -> Any:
        """``ds``: the day on which the run started, as YYYY-MM-DD, unless the run carries another."""
        if "ds" in self.run:
            return self.run["ds"]
        return str(self.run["started_at"])[:10] if "started_at" in self.run else MISSING

    def _explain(self, path: Path) -> str:
        value, start = self._root(path)
        if value is not MISSING:
            return explain_missing_step(value, path, start)
        name = str(path[0])
        if name in _NAMESPACES and len(path) > 1:
            return self._explain_namespace(name, str(path[1]))
        groups = {
            "here": [*self.extras, *self._loop_names(), *(frame.operator_id for frame in self.loops)],
            "results": [*self.results],
            "tasks": [*self.outputs],
            "variables": [*self.variables],
            "inputs": [*self.inputs],
        }
        near = did_you_mean(name, [other for names in groups.values() for other in names])
        known = "; ".join(f"{group}: {listed(names)}" for group, names in groups.items() if names)
        return f"nothing in this run is called '{name}'{near}. It has {known or 'no names at all'}"

    def _explain_namespace(self, namespace: str, name: str) -> str:
        if namespace == "secrets":
            return f"there is no secret '{name}'; it is read from HIGHWAY_SECRET_{name}"
        if namespace in {"env", "ENV"}:
            return f"the environment variable '{name}' is not set, or HIGHWAY_ENV_ALLOWED does not list it"
        names = [str(other) for other in self._whole_namespace(namespace)]
        if namespace == "inputs":
            names += [str(other) for other in self.variables]
        return f"'{namespace}' has no '{name}'{did_you_mean(name, names)}; it has {listed(names)}"


def _of_frame(frame: LoopFrame, name: str | int) -> Any:
    match name:
        case "index":
            return frame.index
        case "iteration":
            return frame.index + 1
        case _:
            return frame.item


def _get(mapping: Mapping[str, Any], key: str | int) -> Any:
    return mapping.get(str(key), MISSING)


def _input(view: DataView, key: str | int) -> Any:
    value = _get(view.inputs, key)
    return _get(view.variables, key) if value is MISSING else value


def _secret(view: DataView, key: str | int) -> Any:
    value = view.secret(str(key))
    return MISSING if value is None else value


def _env(view: DataView, key: str | int) -> Any:
    value = view.env(str(key))
    return MISSING if value is None else value


_NAMESPACES: Final[Mapping[str | int, Callable[[DataView, str | int], Any]]] = {
    "variables": lambda view, key: _get(view.variables, key),
    "inputs": _input,
    "results": lambda view, key: _get(view.results, key),
    "memory": lambda view, key: _get(view.memory, key),
    "run": lambda view, key: _get(view.run, key),
    "secrets": _secret,
    "env": _env,
    "ENV": _env,
}
