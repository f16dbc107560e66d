"""Leases are given back, put off and excused without a deadlock with those who commit something about the same runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence

import pytest

from highway_core.persistence.durable_connection import DurableConnection
from highway_core.persistence.transition_store import Lease, TransitionStore
from tests.durable_rows import Rows
from tests.waiting import eventually

Deed = Callable[[TransitionStore, Sequence[Lease]], None]
DEEDS: dict[str, tuple[Deed, int]] = {
    "given back": (TransitionStore.give_back, 4),
    "released": (TransitionStore.release, 4),
    "postponed": (lambda store, leases: store.postpone(leases, 60), 4),
    "excused": (TransitionStore.excuse, 3),
}
"""What is done, and the fence of the leases: those that are excused have been lost."""
WAITS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'the worker' AND wait_event_type = 'Lock'"


@pytest.fixture
def connections(durable_url: str) -> Iterator[list[DurableConnection]]:
    """Of somebody who commits, of a worker, and of somebody who looks on."""
    opened = [DurableConnection(durable_url, name) for name in ("somebody", "the worker", "the test")]
    yield opened
    for one in opened:
        one.close()


@pytest.mark.parametrize("deed", DEEDS)
@pytest.mark.parametrize("order", [("one", "two"), ("two", "one")])
def test_leases_are_let_go_of_while_somebody_commits_to_their_runs(
    connections: list[DurableConnection], deed: str, order: tuple[str, str]
) -> None:
    commits, works, looks = connections
    rows = Rows(commits)
    do, fence = DEEDS[deed]
    for run_id in order:
        rows.run(run_id)
        rows.task(run_id, "t", "running")
        rows.queue(run_id, "t", "work", "running", lease=60)
    commits.run("UPDATE task_queue SET lease_losses = 2")
    leases = [(run_id, "t", "work", fence) for run_id in ("one", "two")]
    store = TransitionStore(works, "w1", 30)
    thread = threading.Thread(target=do, args=(store, leases))
    with commits.transaction():
        commits.run("SELECT 1 FROM workflows ORDER BY workflow_id FOR NO KEY UPDATE")
        commits.run("SELECT 1 FROM task_queue WHERE workflow_id = 'two' FOR UPDATE")
        thread.start()
        assert eventually(lambda: looks.value(WAITS) == 1)
        commits.run("SELECT 1 FROM task_queue WHERE workflow_id = 'one' FOR UPDATE")
    thread.join(20)
    expected = {
        "given back": ("QUEUED", 1, 2, "QUEUED"),
        "released": ("QUEUED", 2, 2, "running"),
        "postponed": ("WAITING_FOR_TIMER", 1, 2, "running"),
        "excused": ("running", 2, 1, "running"),
    }
    found = commits.fetch(
        "SELECT q.status, q.attempt, q.lease_losses, t.status"
        " FROM task_queue q JOIN tasks t USING (workflow_id, task_id)"
    )
    assert found == [expected[deed]] * 2
