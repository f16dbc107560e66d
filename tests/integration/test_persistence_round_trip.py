"""Whatever is saved of a run is read back exactly, by every store."""

from __future__ import annotations

import json
from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from highway_core.persistence.manager import RunChanges, RunRecord, RunUpdate, SavedRun, TaskRecord
from tests import stored_runs
from tests.stored_runs import Store, reopened


def expected(run: RunRecord, history: list[RunChanges]) -> SavedRun:
    """What should be stored, told in the plainest way."""
    status = RunUpdate(run.status)
    variables = dict(run.variables)
    memory: dict[str, object] = {}
    tasks: dict[str, TaskRecord] = {}
    for change in history:
        for row in change.tasks:
            first = tasks.get(row.task_id, row)
            tasks[row.task_id] = row._replace(columns=first.columns, created_at=first.created_at)
        memory |= {key: json.loads(value) for key, value in change.memory.items()}
        variables = change.variables if change.variables is not None else variables
        status = change.run or status
    return SavedRun(
        record=run._replace(status=status.status, variables=variables),
        status=status.status,
        error_message=status.error_message,
        result_json=status.result_json,
        ended_at=status.ended_at,
        variables=variables,
        memory=memory,
        tasks=tasks,
    )


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(run=stored_runs.runs, history=st.lists(stored_runs.changes, max_size=4))
def test_a_run_is_read_back_exactly_as_it_was_saved(store: Store, run: RunRecord, history: list[RunChanges]) -> None:
    manager = store.open()
    manager.create_run(run)
    for change in history:
        manager.save(replace(change, run_id=run.run_id))

    saved = reopened(store, manager, run.run_id)

    wanted = expected(run, history)
    assert saved == wanted
    assert list(saved.tasks) == list(wanted.tasks)
    assert list(saved.memory) == list(wanted.memory)
