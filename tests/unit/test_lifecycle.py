"""The table of moves: complete, closed, and the only place that spells a status."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import highway_core
from highway_core.errors import LifecycleError
from highway_core.lifecycle import (
    RUN_FINAL,
    RUN_MOVES,
    RUN_REOPENABLE,
    TASK_FINAL,
    TASK_MOVES,
    TASK_OPEN,
    RunMode,
    RunStatus,
    TaskStatus,
    check_run_move,
    check_task_move,
)


def test_every_status_has_its_row_in_the_table() -> None:
    assert set(TASK_MOVES) == set(TaskStatus)
    assert set(RUN_MOVES) == set(RunStatus)


def test_a_final_status_is_never_left() -> None:
    assert all(not TASK_MOVES[status] for status in TASK_FINAL)
    assert all(not RUN_MOVES[status] for status in RUN_FINAL)


def test_every_open_status_can_reach_an_end() -> None:
    for status in TASK_OPEN:
        reached = {status}
        while True:
            more = {target for one in reached for target in TASK_MOVES[one]} | reached
            if more == reached:
                break
            reached = more
        assert TaskStatus.COMPLETED in reached and TaskStatus.CANCELLED in reached


def test_every_status_but_the_first_is_reached_by_some_move() -> None:
    assert {target for moves in TASK_MOVES.values() for target in moves} == set(TaskStatus) - {TaskStatus.PENDING}
    assert {target for moves in RUN_MOVES.values() for target in moves} == set(RunStatus) - {RunStatus.PENDING}


def test_only_a_run_that_is_over_can_be_reopened() -> None:
    assert RUN_REOPENABLE < RUN_FINAL


def test_a_move_without_an_arrow_is_a_bug_that_names_the_task() -> None:
    with pytest.raises(LifecycleError, match=r"'pay\[3\]' cannot move from completed to running"):
        check_task_move("pay[3]", TaskStatus.COMPLETED, TaskStatus.RUNNING)
    with pytest.raises(LifecycleError, match="'r1' cannot move from failed to running"):
        check_run_move("r1", RunStatus.FAILED, RunStatus.RUNNING)


def test_the_strings_are_the_public_contract() -> None:
    assert [str(status) for status in TaskStatus] == [
        "PENDING",
        "QUEUED",
        "running",
        "WAITING_FOR_TIMER",
        "WAITING_FOR_EVENT",
        "WAITING_FOR_CHILDREN",
        "completed",
        "failed",
        "skipped",
        "upstream_failed",
        "cancelled",
    ]
    assert [str(status) for status in RunStatus] == ["PENDING", "running", "PAUSED", "completed", "failed", "cancelled"]
    assert [str(mode) for mode in RunMode] == ["LOCAL", "DURABLE"]


_UNMISTAKABLE = ("WAITING_FOR_TIMER", "WAITING_FOR_EVENT", "WAITING_FOR_CHILDREN", "upstream_failed")


def test_no_other_module_spells_a_status() -> None:
    root = Path(highway_core.__file__).parent
    found = [
        f"{path.relative_to(root)}: {status}"
        for path in root.rglob("*.py")
        if path.name != "lifecycle.py" and "versions" not in path.parts
        for status in _UNMISTAKABLE
        if re.search(rf"""["']{status}["']""", path.read_text(encoding="utf-8"))
    ]
    assert not found
