"""Going on with a LOCAL run that was interrupted or has failed: what is stored is not done again.

The run is replayed from its start. When a task becomes ready whose stored row is completed, its outcome is taken from
the row instead of from an attempt; everything else is decided anew. A loop goes on at the iteration that was open, a
wait keeps its moment.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Mapping
from typing import Any

from highway_core.engine.decisions import Branch
from highway_core.engine.graph import Node, WorkflowGraph
from highway_core.engine.run_state import Instance, Scope
from highway_core.engine.steps import Steps
from highway_core.lifecycle import TASK_OPEN, TaskStatus
from highway_core.persistence.manager import SavedRun, TaskRecord
from highway_core.utils.json_values import loads

__all__ = ["Restorer"]

_COUNTED_BY_ITERATION = "iteration"


class Restorer:
    """Answers for the tasks of one resumed run that are already done."""

    def __init__(self, steps: Steps, saved: SavedRun) -> None:
        self._steps = steps
        self._run = run = steps.run
        self._rows = dict(saved.tasks)
        self._paths = sorted(self._rows)
        run.variables.update(saved.variables)
        run.memory.restore(saved.memory)

    def restore(self, instance: Instance) -> bool:
        """True if the instance was completed from its row; otherwise it is to be started, with what the row kept."""
        row = self._rows.pop(instance.path, None)
        if row is None:
            return False
        left = json.loads(row.progress_json) if row.progress_json else {}
        instance.progress = left.get("progress")
        taken = left.get("taken")
        kind = instance.node.task.operator_type
        if kind == "terminate":
            return False  # it is to end the run again
        if instance.node.branches and taken is not None:
            self._begin(instance, row)
            self._steps.watch_branches(instance)
            self._run.take(instance, Branch(frozenset(taken), gather=True))
            return True
        if row.status is TaskStatus.COMPLETED:
            self._complete(instance, row, taken)
            return True
        if row.wake_up_at is not None and (row.status is TaskStatus.WAITING_FOR_TIMER or kind == "wait"):
            self._begin(instance, row)
            if kind == "wait":
                self._steps.sleep(instance, row.wake_up_at)
            else:
                self._steps.delay(instance, row.wake_up_at, row.error_message)
            return True
        if instance.node.body is not None:
            self._go_on(instance, row)
        return False

    def _begin(self, instance: Instance, row: TaskRecord) -> None:
        """Take up the attempt that was going on."""
        instance.attempt = row.attempt
        instance.started_at = row.started_at
        self._run.start(instance)
        self._steps.watch_attempt(instance)

    def _go_on(self, instance: Instance, row: TaskRecord) -> None:
        """A loop is asked again, in the attempt that was going on; what earlier attempts left does not count."""
        if row.status in TASK_OPEN:
            instance.attempt = row.attempt - 1
        instance.started_at = row.started_at
        if row.started_at is not None:
            for path in self._below(instance):
                ended = self._rows[path].completed_at
                if ended is not None and ended < row.started_at:
                    del self._rows[path]
        self._refill(instance, done=-1)

    def _below(self, instance: Instance) -> list[str]:
        """The paths of the stored rows of a loop's iterations. The rows may be many, and so may the loops."""
        prefix = f"{instance.path}["
        found = []
        position = bisect_left(self._paths, prefix)
        while position < len(self._paths) and self._paths[position].startswith(prefix):
            if self._paths[position] in self._rows:
                found.append(self._paths[position])
            position += 1
        return found

    def _complete(self, instance: Instance, row: TaskRecord, taken: list[str] | None) -> None:
        instance.attempt = row.attempt
        instance.started_at = row.started_at
        instance.completed_at = row.completed_at
        if taken is not None:
            instance.taken = frozenset(taken)
        if instance.node.body is not None:
            self._refill(instance, done=0)
        text = row.result_json or "null"
        value = loads(text)
        self._run.start(instance)
        self._run.complete(instance, value, text)
        if instance.node.task.operator_type == "emit_event":
            self._steps.emit(instance, value["event"], value["payload"])

    def _refill(self, instance: Instance, done: int) -> None:
        """Bring back what the finished iterations of a ``while`` left in the scope around it.

        ``done`` is added to the stored count: -1 if the last iteration is still open and will bring its own.
        """
        progress = instance.progress
        if progress is None or _COUNTED_BY_ITERATION not in progress or instance.node.body is None:
            return
        for index in range(int(progress[_COUNTED_BY_ITERATION]) + done):
            self._take_over(instance.node.body, f"{instance.path}[{index}].", instance.scope)

    def _take_over(self, graph: WorkflowGraph, prefix: str, scope: Scope) -> None:
        for node in graph.nodes:
            row = self._rows.get(prefix + node.task_id)
            if row is None or row.status is not TaskStatus.COMPLETED or row.result_json is None:
                continue
            value = loads(row.result_json)
            scope.outputs[node.task_id] = value
            if node.task.result_key is not None:
                scope.results[node.task.result_key] = value
            self._inner(node, row, prefix, scope)

    def _inner(self, node: Node, row: TaskRecord, prefix: str, scope: Scope) -> None:
        left: Mapping[str, Any] = json.loads(row.progress_json) if row.progress_json else {}
        count = (left.get("progress") or {}).get(_COUNTED_BY_ITERATION, 0)
        if node.body is not None and node.task.operator_type == "while":
            for index in range(count):
                self._take_over(node.body, f"{prefix}{node.task_id}[{index}].", scope)
