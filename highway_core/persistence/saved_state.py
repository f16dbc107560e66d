"""The values of a stored run as readers want them; the same for every kind of store."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from highway_core.lifecycle import TaskStatus
from highway_core.persistence.manager import ResultRecord, SavedRun, SavedState, TaskRecord


def state_of(run: SavedRun, results: Iterable[ResultRecord]) -> tuple[SavedState, set[str]]:
    """The values of ``run`` and the ids of its completed tasks. ``results`` in the order in which they were made."""
    state = SavedState(variables=run.variables, memory=run.memory)
    for result in results:
        if _belongs_to_run(result.task_id, run.tasks):
            state.results[result.result_key] = json.loads(result.value_json)
    completed = {path for path, task in run.tasks.items() if task.status is TaskStatus.COMPLETED}
    return state, completed


def _belongs_to_run(path: str, tasks: Mapping[str, TaskRecord]) -> bool:
    """False for results that stay in an iteration of ``foreach``; those of a ``while`` are the run's own."""
    end = path.find("[")
    while end != -1:
        loop = tasks.get(path[:end])
        if loop is not None and loop.columns.operator_type != "while":
            return False
        end = path.find("[", end + 1)
    return True
