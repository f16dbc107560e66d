"""``tools.transform.*``: reshape, sift and add up values with CEL; what a graph document's data nodes call.

An expression sees ``output`` (the value that came in) and ``ctx``, also called ``context`` (further values by name).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from highway_core.errors import TaskError
from highway_core.tools.decorators import tool
from highway_core.utils.cel_values import parse_cel

NAMES: Final = ("output", "context", "ctx")
"""What an expression of these tools may mention."""
ITEM_NAMES: Final = ("item", *NAMES)
"""What the condition of ``tools.transform.filter`` may mention."""

_ITEMS: Final = "items"
_INCOMING: Final = "output"


@tool("tools.transform.map")
def map_value(expression: str, output: Any = None, context: Mapping[str, Any] | None = None) -> Any:
    """The value of ``expression``. CEL's mappings have no order; the result's have that of their keys."""
    return _in_order(parse_cel(expression, NAMES).value(_bound(output, context)))


@tool("tools.transform.value")
def same_value(value: Any = None) -> Any:
    """The value itself, under a name of its own."""
    return value


@tool("tools.transform.round")
def round_input(number: int, first: Any = None, again: Any = None) -> Any:
    """What the ``number``-th round of a loop (from 1) begins with: ``first``, or what the last round gave."""
    return first if number == 1 else again


@tool("tools.transform.filter")
def filter_items(
    condition: str, items: str = _INCOMING, output: Any = None, context: Mapping[str, Any] | None = None
) -> list[Any]:
    """Those of the list ``items`` (an expression) for which ``condition`` holds; it sees each one as ``item``."""
    bound = _bound(output, context)
    values = parse_cel(items, NAMES).value(bound) if items != _INCOMING else output
    if not isinstance(values, list):
        raise TaskError(f"tools.transform.filter needs a list, but {items} is {_kind(values)}.")
    parse_cel(condition, ITEM_NAMES)  # by itself first: it must be a whole expression, and errors show it as written
    # One evaluation for all, because each one converts every value that it is given. Only the verdicts come out of
    # CEL: the items are still those that went in.
    every = parse_cel(f"{_ITEMS}.map(item, (\n{condition}\n))", (_ITEMS, *NAMES))
    verdicts = every.value({_ITEMS: values} | {name: bound[name] for name in NAMES if name in every.names})
    for index, verdict in enumerate(verdicts):
        if not isinstance(verdict, bool):
            raise TaskError(f"tools.transform.filter: {condition} is {_kind(verdict)} for item {index}, not a boolean.")
    return [value for value, verdict in zip(values, verdicts, strict=True) if verdict]


@tool("tools.transform.aggregate")
def aggregate_items(
    operation: str,
    field: str | None = None,
    items: str = _INCOMING,
    output: Any = None,
    context: Mapping[str, Any] | None = None,
) -> Any:
    """One value for all of ``items`` (an expression): a list, or the values of a mapping; nulls are left out.

    ``field`` is a path into each item (``price`` or ``order.price``). ``operation`` is a key of ``OPERATIONS``; min,
    max and average of nothing are null.
    """
    combine = OPERATIONS.get(operation)
    if combine is None:
        raise TaskError(f"tools.transform.aggregate cannot '{operation}'; it can {', '.join(OPERATIONS)}.")
    values = parse_cel(items, NAMES).value(_bound(output, context)) if items != _INCOMING else output
    if isinstance(values, Mapping):
        values = list(values.values())
    if not isinstance(values, list):
        raise TaskError(f"tools.transform.aggregate needs a list or a mapping, but {items} is {_kind(values)}.")
    if field is not None:
        values = [None if value is None else _at(value, field, index) for index, value in enumerate(values)]
    return combine([value for value in values if value is not None])


def _bound(output: Any, context: Mapping[str, Any] | None) -> dict[str, Any]:
    named = dict(context or {})
    return {"output": output, "context": named, "ctx": named}


def _in_order(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _in_order(value[key]) for key in sorted(value, key=str)}
    return [_in_order(one) for one in value] if isinstance(value, list) else value


def _at(value: Any, path: str, index: int) -> Any:
    for step in path.split("."):
        if not isinstance(value, Mapping) or step not in value:
            raise TaskError(f"tools.transform.aggregate: item {index} has no '{path}'.")
        value = value[step]
    return value


def _numbers(values: list[Any]) -> list[int | float]:
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TaskError(f"tools.transform.aggregate adds and compares numbers, not {_kind(value)}.")
    return values


def _average(values: list[Any]) -> float | None:
    return sum(_numbers(values)) / len(values) if values else None


def _merge(values: list[Any]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for value in values:
        if not isinstance(value, Mapping):
            raise TaskError(f"tools.transform.aggregate merges mappings, not {_kind(value)}.")
        merged.update(value)
    return merged


def _concat(values: list[Any]) -> list[Any]:
    joined: list[Any] = []
    for value in values:
        if not isinstance(value, list):
            raise TaskError(f"tools.transform.aggregate joins lists, not {_kind(value)}.")
        joined.extend(value)
    return joined


OPERATIONS: Final[Mapping[str, Callable[[list[Any]], Any]]] = MappingProxyType(
    {
        "count": len,
        "sum": lambda values: sum(_numbers(values)),
        "min": lambda values: min(_numbers(values), default=None),
        "max": lambda values: max(_numbers(values), default=None),
        "average": _average,
        "merge": _merge,
        "concat": _concat,
        "collect": list,
    }
)
"""What ``tools.transform.aggregate`` can do. In ``merge`` later mappings win; ``collect`` gives a list as it is."""


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case Mapping():
            return "a mapping"
        case list():
            return "a list"
        case str():
            return "a text"
        case _:
            return f"{value!r}"[:80]
