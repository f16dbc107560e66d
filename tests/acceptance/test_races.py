"""Callers and workers at the same thing at the same moment, each race with one winner.

At full size: ``python -m tests.chaos races``.
"""

from __future__ import annotations

import signal

import pytest

from tests.chaos.cluster import Cluster, effect
from tests.chaos.http import Caller
from tests.chaos.invariants import all_hold
from tests.chaos.proxy import Proxy
from tests.chaos.races import (
    cancel_against_completion,
    decisions,
    decisions_at_the_last_moment,
    increments,
    same_keys,
)
from tests.chaos.workload import ASK
from tests.waiting import eventually


def test_cancel_races_completion(cluster: Cluster) -> None:
    for _ in range(2):
        cluster.services.worker()
    cluster.workers_up(2)
    seen = cancel_against_completion(cluster, 500, seed=29)
    print(seen)
    assert set(seen) == {"completed", "cancelled"}
    assert min(seen.values()) >= 5, seen


def test_memory_is_counted_exactly_by_many_workers_one_of_which_dies(cluster: Cluster) -> None:
    cluster.services.scheduler()
    workers = [cluster.services.worker() for _ in range(4)]
    cluster.workers_up(4)
    increments(cluster, 1_000, victim=workers[0].pid)


def test_many_callers_with_the_same_keys_start_one_run_each(cluster: Cluster) -> None:
    cluster.services.worker()
    cluster.services.api()
    cluster.services.answers("/readyz", within=30)
    same_keys(cluster, callers=50, keys=20)


def test_approved_and_denied_at_the_same_moment_is_decided_once(cluster: Cluster) -> None:
    cluster.services.worker()
    cluster.services.api()
    cluster.services.answers("/readyz", within=30)
    seen = decisions(cluster, approvals=500, runs=10)
    assert sum(seen.values()) == 500


def test_a_decision_at_the_instant_of_the_timeout_is_one_of_the_two(cluster: Cluster) -> None:
    cluster.services.worker()
    cluster.services.scheduler()
    cluster.services.api()
    cluster.services.answers("/readyz", within=30)
    seen = decisions_at_the_last_moment(cluster, 60, seed=28)
    print(seen)
    assert set(seen) == {"APPROVED", "TIMEOUT"}


def test_an_api_that_dies_after_a_decision_was_committed_has_decided(cluster: Cluster) -> None:
    """Whoever decided was told nothing; who asks again is told what was decided."""
    cluster.services.worker()
    proxy = Proxy(cluster.url)
    dying = cluster.services.api(HIGHWAY_DATABASE_URL=proxy.url)
    cluster.services.answers("/readyz", within=30)
    run_id = cluster.submit({"q": ASK, "z": effect("q")})
    asked = "SELECT approval_id, status FROM approvals"
    assert eventually(lambda: bool(cluster.rows(asked)), within=30)
    ((key, _),) = cluster.rows(asked)
    proxy.watch((b"COMMIT",), lambda: "hold")
    caller = Caller(cluster.services.port, timeout=3)
    with pytest.raises(TimeoutError):
        caller.ask("POST", f"/api/v1/approvals/{key}/approve", {})
    caller.close()
    assert proxy.has_hit()
    dying.send(signal.SIGKILL)
    proxy.close()
    assert cluster.rows(asked) == [(key, "DECIDED")]

    cluster.services.api()
    cluster.services.answers("/readyz", within=30)
    again = Caller(cluster.services.port)
    code, told = again.ask("POST", f"/api/v1/approvals/{key}/reject", {})
    again.close()
    assert code == 409
    assert "APPROVED" in str(told), told
    assert cluster.over(run_id) == ["completed"]
    all_hold(cluster)
