"""Ids of child runs follow from their parents'. Where a run that is somebody else's has one, its parent says so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from highway_core.engine.durable.operations import StartRequest
from highway_core.engine.loader import Source, compile_document
from tests.durable_workers import Workers, workers
from tests.waiting import eventually

NAP = {"nap": {"operator_type": "wait", "wait_for": "PT1H"}}
CALL = {"operator_type": "task", "function": "tools.workflow.execute", "kwargs": {"workflow_name": "inner"}}
INNER = {"workflow_name": "inner"}
BOTH = {"operator_type": "child_workflow", "children": {"mine": INNER, "taken": INNER}}


@pytest.fixture
def working(durable_url: str, tmp_path: Path) -> Iterator[Workers]:
    with workers(durable_url, tmp_path, 1, poll_seconds=0.5) as opened:
        yield opened


def start(working: Workers, run_id: str, tasks: dict[str, Any], name: str = "outer") -> None:
    compiled, _ = compile_document(Source({"name": name, "tasks": tasks}, name), None, {})
    working.runs.start(StartRequest(compiled, run_id=run_id))


def test_a_task_whose_child_has_the_id_of_another_run_fails_and_says_so(working: Workers) -> None:
    start(working, "order/call/inner", NAP, "inner")
    start(working, "order", {"call": CALL})
    assert working.ended("order", within=20) == ["failed"]
    ((error,),) = working.rows("SELECT error_message FROM tasks WHERE workflow_id = 'order'")
    assert "order/call/inner" in error
    assert "another run has its id" in error
    assert working.statuses("order/call/inner") == ["running"], "it is not its parent's to end"


def test_a_run_that_is_not_its_child_is_not_cancelled_with_it(working: Workers) -> None:
    start(working, "order/both/taken", NAP, "inner")
    start(working, "order", {"both": BOTH})
    assert eventually(lambda: working.rows("SELECT 1 FROM workflows WHERE workflow_id = 'order/both/mine'") != [])
    working.runs.cancel("order", "ann")
    assert working.ended("order/both/mine") == ["cancelled"]
    assert working.statuses("order/both/taken") == ["running"]


def test_the_other_child_runs_of_the_task_are_waited_for(working: Workers) -> None:
    start(working, "order/both/taken", NAP, "inner")
    start(working, "order", {"both": BOTH})
    progress = "SELECT progress_json FROM tasks WHERE workflow_id = 'order'"
    assert eventually(lambda: "another run" in str(working.rows(progress)))
    assert working.statuses("order", "order/both/taken") == ["running", "running"]
    working.runs.cancel("order/both/mine", "ann")
    assert working.ended("order") == ["failed"]
    ((error,),) = working.rows("SELECT error_message FROM tasks WHERE workflow_id = 'order'")
    assert "'order/both/mine' (mine) cancelled" in error
    assert "'order/both/taken' (taken) failed: not started, because another run" in error
