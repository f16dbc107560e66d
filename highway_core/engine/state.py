"""``WorkflowState``: a run's data as one object, with the lenient templating of the existing library.

The engine itself binds templates through :mod:`~highway_core.engine.templates` and a
:class:`~highway_core.engine.data.DataView`; this is the same look-up for tools and for code written against the state.
"""

from __future__ import annotations

import copy
from typing import Any

from pydantic import BaseModel, Field

from highway_core.engine.data import DataView, LoopFrame
from highway_core.engine.references import MISSING, parse_reference
from highway_core.engine.templates import as_json, compile_value, fill_known
from highway_core.errors import ExpressionError


class WorkflowState(BaseModel):
    """``WorkflowState(variables)`` deep-copies them; keywords are for reading a stored state back."""

    variables: dict[str, Any] = Field(default_factory=dict)
    results: dict[str, Any] = Field(default_factory=dict)
    memory: dict[str, Any] = Field(default_factory=dict)
    loop_context: dict[str, Any] = Field(default_factory=dict)

    def __init__(self, variables: dict[str, Any] | None = None, /, **fields: Any) -> None:
        if variables is not None:
            fields["variables"] = copy.deepcopy(variables)
        super().__init__(**fields)

    @classmethod
    def create_initial(cls, variables: dict[str, Any]) -> WorkflowState:
        """A state at the start of a run."""
        return cls(variables)

    def set_result(self, key: str, value: Any) -> None:
        self.results[key] = value

    def get_result(self, key: str) -> Any:
        """The result, None where there is none."""
        return self.results.get(key)

    def set_variable(self, key: str, value: Any) -> None:
        self.variables[key] = value

    def get_variable(self, key: str) -> Any:
        """The variable, None where there is none."""
        return self.variables.get(key)

    def get_value_from_path(self, path: str) -> Any:
        """What ``path`` (without braces) leads to: the loop item first, then results, then variables; else None."""
        try:
            value = self._view().find(parse_reference(path.strip()))
        except ExpressionError:
            return None
        return None if value is MISSING else value

    def resolve_templating(self, data: Any, strict: bool = False) -> Any:
        """``data`` with the ``{{…}}`` in its strings filled in.

        A marker that resolves to nothing stays as it is; with ``strict`` it is an UnknownReferenceError, and one
        that cannot be read an ExpressionError. Inside longer text values are written as ``str`` writes them, dicts
        and lists as JSON.
        """
        view = self._view()
        return compile_value(data).resolve(view) if strict else _filled(data, view)

    def _view(self) -> DataView:
        loops = [LoopFrame("", **_known(self.loop_context, "item", "index"))] if self.loop_context else []
        return DataView(
            variables=self.variables,
            inputs={},
            results=self.results,
            outputs={},
            memory=self.memory,
            loops=loops,
            extras=self.loop_context,
        )


def _known(mapping: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: mapping[name] for name in names if name in mapping}


def _filled(data: Any, view: DataView) -> Any:
    if isinstance(data, str):
        return fill_known(data, view, _rendered) if "{{" in data else data
    if isinstance(data, list):
        return [_filled(item, view) for item in data]
    if isinstance(data, dict):
        return {key: _filled(item, view) for key, item in data.items()}
    return data


def _rendered(value: Any) -> str:
    return as_json(value) if isinstance(value, (dict, list)) else str(value)
