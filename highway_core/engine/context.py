"""What a handler is given: the task's data, what is left from an earlier decision, and a way to call a tool."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from highway_core.engine.data import DataView
from highway_core.engine.executors.base import Work
from highway_core.engine.graph import Node
from highway_core.lifecycle import TaskStatus


@dataclass(frozen=True, slots=True)
class ChildOutcome:
    """How one branch, iteration or child run ended."""

    key: str | int
    """The branch's name or the iteration's index."""
    status: TaskStatus
    results: Mapping[str, Any]
    """By result_key."""
    error: str | None = None
    value: Any = None
    """A child run's result."""
    run_id: str | None = None


@dataclass(slots=True)
class TaskContext:
    """One question to a handler.

    Asked for the first time, ``progress`` and ``children`` are None. Asked again because the children are over,
    ``children`` holds them, in order. Asked again after a crash, ``progress`` is what the handler had left and
    ``children`` is None: it must answer as it did.
    """

    node: Node
    path: str
    attempt: int
    view: DataView
    now: datetime
    execute: Callable[[Work], Any]
    """Carries out one piece of work through the executor of its runtime; whatever goes wrong is a TaskError."""
    progress: Mapping[str, Any] | None = None
    children: Sequence[ChildOutcome] | None = None
    added: Sequence[Any] = ()
    """Items that were added to a dynamic foreach since it was asked last."""

    def resolve(self, name: str, extras: Mapping[str, Any] | None = None) -> Any:
        """The task's field ``name`` with its references filled in; ``extras`` are further names."""
        compiled = self.node.templates.get(name)
        if compiled is None:
            return getattr(self.node.task, name)
        return compiled.resolve(self.view if extras is None else self.view_with(extras))

    def view_with(self, extras: Mapping[str, Any]) -> DataView:
        """The task's data with further names."""
        return dataclasses.replace(self.view, extras={**self.view.extras, **extras})
