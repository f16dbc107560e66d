"""``foreach``: one scope an item."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from highway_core.engine.context import TaskContext
from highway_core.engine.decisions import Decision, Finish, Iteration, Spawn
from highway_core.engine.models import ForEachOperatorModel
from highway_core.errors import TaskError
from highway_core.lifecycle import TaskStatus

_SHOWN_FAILURES = 3


def decide(task: ForEachOperatorModel, ctx: TaskContext) -> Decision:
    """Open the iterations; then the list of their results, in item order."""
    if ctx.children is None:
        items = _items(ctx.resolve("items")) if ctx.progress is None else list(ctx.progress["items"])
        return _spawn(task, items, 0) if items else Finish([])
    failed = [child for child in ctx.children if child.status is not TaskStatus.COMPLETED]
    if failed:
        shown = "; ".join(f"iteration {child.key} failed: {child.error}" for child in failed[:_SHOWN_FAILURES])
        more = f" and {len(failed) - _SHOWN_FAILURES} more" if len(failed) > _SHOWN_FAILURES else ""
        raise TaskError(f"{shown}{more}")
    if ctx.added:
        known = list((ctx.progress or {})["items"])
        return _spawn(task, [*known, *ctx.added], len(known))
    return Finish([dict(child.results) for child in ctx.children])


def _spawn(task: ForEachOperatorModel, items: list[Any], start: int) -> Spawn:
    """Open the iterations from ``start`` on; the ones before are over."""
    scopes = [Iteration(index, items[index]) for index in range(start, len(items))]
    limit = None if task.parallel else 1
    return Spawn(scopes, {"items": items}, limit=limit, stop_on_failure=not task.parallel)


def _items(value: Any) -> list[Any]:
    match value:
        case list():
            return value
        case tuple() | range():
            return list(value)
        case Mapping():
            return [{"key": key, "value": one} for key, one in value.items()]
        case _:
            shown = repr(value)
            raise TaskError(f"foreach needs a list, not {type(value).__name__}: {shown[:100]}")
