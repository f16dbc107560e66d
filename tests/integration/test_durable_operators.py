"""What operators do to runs that real workers carry out: retry, pause, cancel, decide; each seen to its end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from highway_core.errors import RunNotFoundError, RunStateError
from highway_core.lifecycle import RunStatus
from highway_core.persistence.approval_store import ApprovalStore
from tests.durable_workers import Workers, workers
from tests.waiting import eventually


@pytest.fixture
def working(durable_url: str, tmp_path: Path) -> Iterator[Workers]:
    with workers(durable_url, tmp_path, 2, poll_seconds=0.5) as opened:
        yield opened


def tool(function: str, *args: Any, after: str | None = None, **rest: Any) -> dict[str, Any]:
    before = [] if after is None else [after]
    return {"operator_type": "task", "function": function, "args": list(args), "dependencies": before, **rest}


def statuses_of(working: Workers, run_id: str) -> dict[str, str]:
    return dict(working.rows("SELECT task_id, status FROM tasks WHERE workflow_id = %s", run_id))


def attempts_of(working: Workers, run_id: str) -> dict[str, int]:
    return dict(working.rows("SELECT task_id, attempt FROM tasks WHERE workflow_id = %s", run_id))


def test_a_failed_run_goes_on_from_the_task_that_failed(working: Workers, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    run_id = working.submit(
        {
            "first": tool("tools.transform.value", 1),
            "second": tool("tools.filesystem.read", str(missing), after="first"),
            "third": tool("tools.transform.value", 3, after="second"),
        },
    )
    assert working.ended(run_id) == ["failed"]
    assert statuses_of(working, run_id) == {"first": "completed", "second": "failed", "third": "upstream_failed"}
    assert working.runs.retry(run_id, "ann") in {RunStatus.RUNNING, RunStatus.FAILED}
    assert eventually(lambda: attempts_of(working, run_id)["second"] == 2 and working.statuses(run_id) == ["failed"])
    assert attempts_of(working, run_id)["first"] == 1


def test_a_failed_run_ends_well_once_what_was_wrong_is_mended(working: Workers, tmp_path: Path) -> None:
    marker = tmp_path / "there"
    check = tool("tools.shell.run", f"test -e {marker}", after="first")
    run_id = working.submit(
        {
            "first": tool("tools.transform.value", 1),
            "check": check,
            "last": tool("tools.transform.value", 3, after="check"),
        }
    )
    assert working.ended(run_id) == ["failed"]
    marker.touch()
    working.runs.retry(run_id, "ann")
    assert working.ended(run_id) == ["completed"]
    assert attempts_of(working, run_id) == {"first": 1, "check": 2, "last": 1}


def test_a_cancelled_run_can_be_tried_again_and_a_completed_one_cannot(working: Workers) -> None:
    run_id = working.submit({"wait": {"operator_type": "wait", "wait_for": "PT1H"}})
    assert eventually(lambda: statuses_of(working, run_id) == {"wait": "WAITING_FOR_TIMER"})
    assert working.runs.cancel(run_id, "ann") is RunStatus.CANCELLED
    with pytest.raises(RunStateError, match="is cancelled"):
        working.runs.cancel(run_id, "bob")
    working.runs.retry(run_id, "ann")
    assert eventually(lambda: statuses_of(working, run_id) == {"wait": "WAITING_FOR_TIMER"})
    assert working.statuses(run_id) == ["running"]
    done = working.submit({"one": tool("tools.transform.value", 1)})
    assert working.ended(done) == ["completed"]
    with pytest.raises(RunStateError, match="only a failed or cancelled run"):
        working.runs.retry(done, "ann")
    with pytest.raises(RunNotFoundError):
        working.runs.retry("nobody", "ann")


def test_a_paused_run_starts_nothing_and_goes_on_afterwards(working: Workers) -> None:
    run_id = working.submit(
        {"nap": {"operator_type": "wait", "wait_for": "PT0.3S"}, "next": tool("tools.transform.value", 2, after="nap")}
    )
    assert eventually(lambda: statuses_of(working, run_id).get("nap") == "WAITING_FOR_TIMER")
    assert working.runs.pause(run_id, "ann") is RunStatus.PAUSED
    assert eventually(lambda: statuses_of(working, run_id) == {"nap": "completed", "next": "QUEUED"})
    assert working.rows("SELECT status FROM task_queue WHERE workflow_id = %s", run_id) == [("PAUSED",)]
    assert working.runs.unpause(run_id, "ann") is RunStatus.RUNNING
    assert working.ended(run_id) == ["completed"]


def test_a_decision_that_is_taken_while_the_run_is_paused_counts(working: Workers) -> None:
    run_id = working.submit(
        {
            "ask": tool("human.request_approval", "May we?", "ann@example.com"),
            "then": tool("tools.transform.value", 2, after="ask"),
        }
    )
    assert eventually(lambda: statuses_of(working, run_id).get("ask") == "WAITING_FOR_EVENT")
    working.runs.pause(run_id, "ann")
    approvals = ApprovalStore(working.pool)
    (asked,) = approvals.open(run_id=run_id)
    approvals.decide(asked.approval_id, "APPROVED", by="ann", via="api")
    assert eventually(lambda: statuses_of(working, run_id).get("ask") == "completed")
    assert working.statuses(run_id) == ["PAUSED"]
    working.runs.unpause(run_id, "ann")
    assert working.ended(run_id) == ["completed"]


def test_a_run_that_is_paused_before_it_begins_begins_afterwards(durable_url: str, tmp_path: Path) -> None:
    idle = Workers(durable_url, tmp_path, 1, poll_seconds=0.5)
    run_id = idle.submit({"one": tool("tools.transform.value", 1)})
    idle.runs.pause(run_id, "ann")
    idle.start()
    try:
        other = idle.submit({"one": tool("tools.transform.value", 1)})
        assert idle.ended(other) == ["completed"]
        assert idle.statuses(run_id) == ["PAUSED"]
        idle.runs.unpause(run_id, "ann")
        assert idle.ended(run_id) == ["completed"]
    finally:
        idle.stop()
