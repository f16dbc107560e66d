"""The JSON Schema of a workflow document, made from the models that read it.

What pydantic makes describes the models; a document may say a little less, and say it in more ways: a task's id is its
key in ``tasks``, null stands for "not given", a duration is a text or a number of seconds, and some fields have a
second spelling. The schema helps editors; ``validate`` knows more than it does. Graph documents (nodes and edges) are
another format, which it does not describe.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from highway_core.engine.models import OPERATORS, WorkflowModel
from highway_core.engine.policies import CircuitBreakerPolicy, DocumentPart, RetryPolicy, TimeoutPolicy

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_DESCRIPTION = "A workflow for Highway: its tasks, how they depend on each other, and what it starts with."
_DURATION = {
    "anyOf": [{"type": "string", "examples": ["PT5S", "P1D", "1h30m"]}, {"type": "number", "minimum": 0}],
    "description": "A duration: ISO 8601, or a number of seconds.",
}
_RENAMED_IN: tuple[type[DocumentPart], ...] = (*OPERATORS.values(), RetryPolicy, TimeoutPolicy, CircuitBreakerPolicy)

Schema = dict[str, Any]


def document_schema() -> Schema:
    """A fresh one."""
    schema = WorkflowModel.model_json_schema()
    renamed = {model.__name__: model.renamed for model in _RENAMED_IN}
    for name, part in [("WorkflowModel", schema), *schema["$defs"].items()]:
        if "properties" in part:
            _loosen(part, dict(renamed.get(name, {})))
    for model in OPERATORS.values():
        _require_kind(schema["$defs"][model.__name__])
    for node in _nodes(schema):
        if node.get("format") == "duration":
            node.clear()
            node.update(_DURATION)
    return {"$schema": _DIALECT, **schema, "title": "Highway workflow", "description": _DESCRIPTION}


def _loosen(part: Schema, renamed: dict[str, str]) -> None:
    """Take nulls for what need not be given, and second spellings."""
    properties: Schema = part["properties"]
    optional = {"task_id", *renamed.values()}
    required = [name for name in part.get("required", ()) if name not in optional]
    part["required"] = required
    for name, value in properties.items():
        if name not in required:
            properties[name] = _or_null(value)
    for other, name in renamed.items():
        properties[other] = {**properties[name], "description": f"Another name of '{name}'."}


def _or_null(value: Schema) -> Schema:
    null = {"type": "null"}
    kept: Schema = {key: value[key] for key in ("title", "default", "description") if key in value}
    kinds = value.get("anyOf") or [{key: inner for key, inner in value.items() if key not in kept}]
    if {} in kinds:
        return value  # it takes anything
    return {"anyOf": kinds if null in kinds else [*kinds, null], **kept}


def _require_kind(operator: Schema) -> None:
    """The operator must be named: it decides which of the models is meant."""
    kind = operator["properties"]["operator_type"]
    operator["properties"]["operator_type"] = {"const": kind["anyOf"][0]["const"]}
    operator["required"] = ["operator_type", *operator["required"]]


def _nodes(value: Any) -> Iterator[Schema]:
    """Every object in a schema, the innermost first."""
    for inner in list(value.values()) if isinstance(value, dict) else value:
        if isinstance(inner, dict | list):
            yield from _nodes(inner)
    if isinstance(value, dict):
        yield value
