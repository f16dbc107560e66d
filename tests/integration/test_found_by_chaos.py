"""What chaos found, each brought about on purpose: what got lost, and what was written wrongly."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from highway_core.errors import ConnectionLostError
from highway_core.lifecycle import RunStatus
from highway_core.services.worker import Worker
from tests.durable_workers import Workers, held, workers
from tests.waiting import eventually


def test_what_could_not_be_given_back_is_not_forgotten(
    durable_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that has a task wait for a thread for too long lets others have it; if the database does not hear that,
    the lease is still this worker's, and nobody else would begin the task before it ends."""
    office = Workers(durable_url, tmp_path, 0, poll_seconds=0.1)
    worker = Worker(office.settings, concurrency=1)
    worker._hands._mean = 0.001  # after many short tasks
    office.submit({"a": held("a", 600), "b": held("b", 600)})
    row = "SELECT fence, status FROM task_queue WHERE task_id = ANY (%s) ORDER BY task_id"
    names = ["a", "b"]

    def turn_until(holds: Callable[[], bool]) -> bool:
        def turn() -> bool:
            try:
                worker.run_once()
            except ConnectionLostError:
                lost.append(True)
            return holds()

        return eventually(turn, within=15)

    lost: list[bool] = []
    assert turn_until(lambda: [one[1] for one in office.rows(row, names)] == ["running"] * 2)
    before = office.rows(row, names)
    give_back = worker._store.give_back

    def unheard(leases: list[tuple[str, str, str, int]]) -> None:
        if not lost:
            raise ConnectionLostError("gone")
        give_back(leases)

    monkeypatch.setattr(worker._store, "give_back", unheard)
    assert turn_until(lambda: bool(lost) and office.rows(row, names) != before)
    worker._hands.give_up(worker._hands.held(), "the test is over")
    worker._hands.close()
    worker._connection.close()
    office.stop()


def test_claims_whose_answer_got_lost_are_found_by_a_worker_that_is_never_idle(
    durable_url: str, tmp_path: Path
) -> None:
    """It always has claims that came with its last commit: those it knows of, and only those."""
    office = Workers(durable_url, tmp_path, 0)
    worker = Worker(office.settings)
    runs = [office.submit({"a": held("a")}) for _ in range(3)]
    heard, *unheard = worker._store.claim(("default",), 0, 200)
    assert len(unheard) == 2
    worker._answers.lost()
    worker._take([heard], worker._unsaved, worker._versions)
    inputs, _ = worker._gather()
    assert {*inputs} == {*runs}
    fences = dict(office.rows("SELECT workflow_id, fence FROM task_queue"))
    assert fences == {heard.run_id: heard.fence} | {one.run_id: one.fence + 1 for one in unheard}
    worker._connection.close()
    office.stop()


def test_a_cancelled_task_keeps_the_attempt_that_had_begun(durable_url: str, tmp_path: Path) -> None:
    """Whoever cancels may know the run from before its task was claimed: attempts only grow all the same."""
    with workers(durable_url, tmp_path, 1, poll_seconds=0.1) as office:
        run_id = office.submit({"a": held("a", 0.2), "b": {**held("b", 600), "dependencies": ["a"]}})
        row = "SELECT status, attempt, fence FROM tasks WHERE workflow_id = %s AND task_id = 'b'"
        assert eventually(lambda: office.rows("SELECT 1 FROM tasks WHERE workflow_id = %s", run_id))
        office.runs.pause(run_id, "test")
        assert eventually(lambda: [one[:2] for one in office.rows(row, run_id)] == [("QUEUED", 0)])
        office.runs.unpause(run_id, "test")
        assert eventually(lambda: [one[:2] for one in office.rows(row, run_id)] == [("running", 1)])
        ((_, _, fence),) = office.rows(row, run_id)
        assert office.runs.cancel(run_id, "test") is RunStatus.CANCELLED
        ((status, attempt, last),) = office.rows(row, run_id)
        assert (status, attempt) == ("cancelled", 1)
        assert last >= fence


def test_what_a_run_has_left_at_a_worker_goes_though_it_ends_elsewhere(durable_url: str, tmp_path: Path) -> None:
    office = Workers(durable_url, tmp_path, 0, poll_seconds=0.1)
    worker = Worker(office.settings)
    runner = worker._driver.services.runner
    ended, open_still = (office.submit({"a": held("a", 600)}) for _ in range(2))

    def turn() -> set[str]:
        worker.run_once()
        return {*runner.unreleased()}

    assert eventually(lambda: turn() == {ended, open_still})
    office.runs.cancel(ended, "test")
    worker._registration._at = -math.inf  # as time goes by
    assert turn() == {open_still}
    worker._hands.give_up(worker._hands.held(), "the test is over")
    worker._hands.close()
    worker._connection.close()
    office.stop()
