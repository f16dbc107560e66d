"""One pure function per operator: ``decide(task, ctx) -> Decision``.

A handler says what follows and never how: it knows neither the mode nor the store, it does not sleep, and it has no
clock but ``ctx.now``. ``task``, ``activity`` and ``reflexive`` call tools through ``ctx.execute``; all others only
look at data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from highway_core.engine.context import TaskContext
from highway_core.engine.decisions import Decision
from highway_core.engine.operator_handlers import (
    child_workflow_handler,
    condition_handler,
    event_handlers,
    foreach_handler,
    join_handler,
    multi_choice_handler,
    parallel_handler,
    reflexive_handler,
    switch_handler,
    task_handler,
    terminate_handler,
    wait_handler,
    while_handler,
)

Handler = Callable[[Any, TaskContext], Decision]

HANDLERS: Mapping[str, Handler] = MappingProxyType(
    {
        "task": task_handler.decide,
        "activity": task_handler.decide,
        "condition": condition_handler.decide,
        "switch": switch_handler.decide,
        "parallel": parallel_handler.decide,
        "multi_choice": multi_choice_handler.decide,
        "wait": wait_handler.decide,
        "foreach": foreach_handler.decide,
        "while": while_handler.decide,
        "emit_event": event_handlers.decide_emit,
        "wait_for_event": event_handlers.decide_wait,
        "join": join_handler.decide,
        "reflexive": reflexive_handler.decide,
        "terminate": terminate_handler.decide,
        "child_workflow": child_workflow_handler.decide,
    }
)

WORKING = frozenset({"task", "activity", "reflexive"})
"""Operators that call tools; everything else is decided in microseconds."""
