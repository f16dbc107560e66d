"""What a node of a graph document does, as the fields of a task: its tool, its arguments, its policies."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from highway_core.engine.graph_document_reader import (
    COMMON_KEYS,
    POLICY_KEYS,
    ROUTING_KEYS,
    TOOL_KEYS,
    GraphNode,
)
from highway_core.engine.graph_document_sections import Section, normal_cel
from highway_core.errors import ExpressionError
from highway_core.tools.transform import ITEM_NAMES, NAMES, OPERATIONS
from highway_core.utils.cel_values import parse_cel
from highway_core.utils.naming import did_you_mean

_MAP: Final = "tools.transform.map"
_ARGUMENT_KEYS: Final = ("args", "kwargs", "params")
_CALL_KEYS: Final = (*TOOL_KEYS, *_ARGUMENT_KEYS, "runtime", "image", "command", "docker")
_SLIPS: Final = {"arg": "args", "kwarg": "kwargs", "arguments": "kwargs", "parameters": "kwargs", "tool_name": "tool"}
"""Any other key of a function's config is an argument of the tool."""
_HTTP_ARGUMENTS: Final = (
    *("url", "method", "headers", "params", "json", "data"),
    *("timeout", "fail_on_error", "follow_redirects"),
)
_HTTP_BODIES: Final = ("body", "payload")
_CONTEXT: Final = re.compile(
    r"""(?P<text>'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")
      |(?<![\w.])(?:ctx|context)(?:\s*\.\s*(?P<name>[A-Za-z_]\w*)|\s*\[\s*(?P<key>'[^'\\]*'|"[^"\\]*")\s*\]|\b)""",
    re.VERBOSE,
)
_RETRIES: Final = {"max_attempts": 3, "backoff_ms": 1000, "backoff_multiplier": 2.0}
"""What a node's ``retry`` leaves out."""


@dataclass(frozen=True, slots=True)
class Work:
    """One call, with the fields of the task that makes it."""

    fields: dict[str, Any]
    expressions: tuple[str, ...] = ()
    """The CEL texts in its arguments: they see ``output`` and ``ctx``."""
    policies: Mapping[str, Any] = field(default_factory=dict)
    """Retry, timeout and the like; also of a node that calls nothing."""


def work_of(node: GraphNode) -> Work:
    """What the node calls; problems go to its report."""
    return replace(_call(node), policies=_policies(node))


def _call(node: GraphNode) -> Work:
    match node.kind:
        case "http":
            return _http(node.config)
        case "transform":
            return _transform(node.config)
        case "filter":
            return _filter(node.config)
        case "aggregate":
            return _aggregate(node.config)
        case "conditional" | "loop" if not node.has_work:
            node.config.check_keys(ROUTING_KEYS)
            return Work({})
        case "function" | "conditional" | "loop":
            return _function(node)
        case _:  # an unknown type, which is reported already
            return Work({})


def _policies(node: GraphNode) -> dict[str, Any]:
    """Retry, timeout and the like, in our spelling or in the format's (``timeout_ms``, ``retry``)."""
    section = node.section
    found = {key: section.values[key] for key in POLICY_KEYS if key in section.values}
    if "metadata" in found:
        found["metadata"] = dict(section.inner("metadata").values)
    title = section.values.get("name") or section.values.get("label")
    if isinstance(title, str):
        found.setdefault("description", title)
    timeout = section.values.get("timeout_ms")
    if timeout is not None and _is_number(section, "timeout_ms") and timeout > 0:  # 0 is the format's "none"
        found.setdefault("timeout_seconds", timeout / 1000)
    if "retry" in section.values:
        retry = section.inner("retry")
        retry.check_keys(_RETRIES)
        if all(_is_number(retry, key) for key in retry.values):
            values = _RETRIES | dict(retry.values)
            found.setdefault(
                "retry_policy",
                {
                    "max_attempts": values["max_attempts"],
                    "delay": values["backoff_ms"] / 1000,
                    "backoff_factor": values["backoff_multiplier"],
                },
            )
    return found


def _is_number(section: Section, key: str) -> bool:
    value = section.values[key]
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        section.problem(key, f"{key} must be a number of at least 0, not {value!r}"[:120])
        return False
    return True


def _function(node: GraphNode) -> Work:
    config = node.config
    fields: dict[str, Any] = {
        key: config.values[key] for key in ("args", "runtime", "image", "command", "docker") if key in config.values
    }
    name = next((config.values[key] for key in TOOL_KEYS if key in config.values), None)
    if name is not None:
        fields["function"] = name
    elif fields.get("runtime") != "docker":
        config.problem(None, "missing field 'function'", "the name of a tool, such as tools.log.info")
    routing = ROUTING_KEYS if node.kind in {"conditional", "loop"} else COMMON_KEYS
    rest = {key: value for key, value in config.values.items() if key not in (*_CALL_KEYS, *routing)}
    if rest and any(key in config.values for key in _ARGUMENT_KEYS):
        config.check_keys((*_CALL_KEYS, *routing))
        rest = {}
    for key in rest:
        if key in _SLIPS:
            config.problem(key, f"unknown key '{key}'", f"write {_SLIPS[key]}; an argument '{key}' goes under kwargs")
    named = config.values.get("kwargs", config.values.get("params"))
    if named is not None or rest:
        fields["kwargs"] = rest if named is None else named
    return Work(fields)


def _http(config: Section) -> Work:
    config.check_keys(
        (*_HTTP_ARGUMENTS, *_HTTP_BODIES, *COMMON_KEYS),
        {"uri": "url", "endpoint": "url", "verb": "method", "query": "params"},
    )
    config.missing("url")
    kwargs = {key: config.values[key] for key in _HTTP_ARGUMENTS if key in config.values}
    for key in _HTTP_BODIES:
        if key in config.values:
            value = config.values[key]
            kwargs.setdefault("data" if isinstance(value, str) else "json", value)
    return Work({"function": "tools.http.request", "kwargs": kwargs})


def _transform(config: Section) -> Work:
    config.check_keys(("expression", *COMMON_KEYS), {"transformation": "expression", "transform": "expression"})
    config.missing("expression")
    return _cel_work(config, _MAP, {"expression": "expression"})


def _filter(config: Section) -> Work:
    config.check_keys(("condition", "expression", "items", *COMMON_KEYS), {"filter_expression": "condition"})
    key = "expression" if "expression" in config.values else "condition"
    config.missing(key)
    return _cel_work(config, "tools.transform.filter", {key: "condition", "items": "items"})


def _aggregate(config: Section) -> Work:
    known = ("expression", "operation", "strategy", "field", "items", *COMMON_KEYS)
    config.check_keys(known)
    if "expression" in config.values:
        return _cel_work(config, _MAP, {"expression": "expression"})
    key = "operation" if "operation" in config.values else "strategy"
    operation = config.values.get(key)
    if operation is None:
        config.problem(None, "an aggregate needs 'operation' or 'expression'", f"one of {', '.join(OPERATIONS)}")
    elif operation not in OPERATIONS:
        hint = did_you_mean(str(operation), OPERATIONS) or f"one of {', '.join(OPERATIONS)}"
        config.problem(key, f"unknown operation '{operation}'", hint)
    work = _cel_work(config, "tools.transform.aggregate", {"items": "items"})
    work.fields["kwargs"]["operation"] = operation
    if "field" in config.values:
        work.fields["kwargs"]["field"] = config.text("field")
    return work


def _cel_work(config: Section, function: str, arguments: Mapping[str, str]) -> Work:
    """A call of ``function``; ``arguments`` maps keys of ``config`` that hold CEL to its parameters."""
    kwargs: dict[str, Any] = {}
    for key, parameter in arguments.items():
        if key not in config.values:
            continue
        value = config.values[key]
        text = normal_cel(value) if isinstance(value, str) else None
        if text is None:
            config.problem(key, f"'{key}' must be a text")
            continue
        if "{{" in text:
            config.problem(key, "CEL has no braces", "write ctx.<node>, or output for what came in")
            continue
        try:
            parse_cel(text, ITEM_NAMES if parameter == "condition" else NAMES)
        except ExpressionError as error:
            config.problem(key, str(error))
        kwargs[parameter] = text
    return Work({"function": function, "kwargs": kwargs}, tuple(kwargs.values()))


def names_in_context(expressions: Iterable[str]) -> set[str] | None:
    """The names after ``ctx`` in CEL texts; None if one of them uses ``ctx`` in another way, as a whole."""
    names = set()
    for expression in expressions:
        for found in _CONTEXT.finditer(expression):
            if found["text"]:
                continue
            if not found["name"] and not found["key"]:
                return None
            names.add(found["name"] or found["key"][1:-1])
    return names
