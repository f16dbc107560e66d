"""Workers that are told to stop, with and without a database; and databases that cannot be worked with."""

from __future__ import annotations

import signal
import time

import pytest

from tests.chaos.cluster import LEASE, Cluster, effect
from tests.chaos.invariants import all_hold
from tests.chaos.proxy import Proxy
from tests.waiting import eventually

CHAIN = {"a": effect(), "b": effect("a"), "c": effect("b")}


def test_leases_are_renewed_while_a_worker_drains(cluster: Cluster) -> None:
    cluster.services.scheduler()
    worker = cluster.services.worker()
    cluster.workers_up()
    run_id = cluster.submit({"a": effect(tool="chaos.hold", gate="g"), "b": effect("a")})
    assert cluster.begun(run_id)
    worker.send(signal.SIGTERM)
    renewed = "SELECT lease_until > %s::timestamptz + interval '3 seconds' FROM task_queue WHERE task_id = 'a'"
    now = cluster.value("SELECT clock_timestamp()::text")
    assert eventually(lambda: cluster.value(renewed, now)), "longer than a lease later it is still its own"
    cluster.open_gate("g")
    assert worker.ends() == 0
    assert [cluster.task(run_id, task) for task in "ab"] == [("completed", 1), ("QUEUED", 0)]
    cluster.services.worker()
    assert cluster.over(run_id) == ["completed"]
    assert cluster.counter("leases_lost") == 0
    all_hold(cluster)


def test_what_waits_for_a_thread_is_given_back_at_once_and_costs_no_attempt(cluster: Cluster) -> None:
    draining = cluster.services.worker(HIGHWAY_CONCURRENCY="2", HIGHWAY_GRACE_SECONDS="60")
    cluster.workers_up()
    run_id = cluster.submit({f"h{n}": effect(tool="chaos.hold", gate="g") for n in range(2)})
    assert cluster.begun(run_id, times=2)
    others = [cluster.submit(CHAIN) for _ in range(20)]
    draining.send(signal.SIGTERM)
    cluster.services.worker()
    assert cluster.over(*others) == ["completed"] * 20
    cluster.open_gate("g")
    assert draining.ends() == 0
    assert cluster.over(run_id) == ["completed"]
    assert cluster.rows("SELECT DISTINCT attempt FROM tasks") == [(1,)]
    all_hold(cluster)


def test_an_idle_worker_stops_at_once(cluster: Cluster) -> None:
    worker = cluster.services.worker()
    scheduler = cluster.services.scheduler()
    cluster.workers_up()
    cluster.schedulers_up()
    for service in (worker, scheduler):
        begun = time.monotonic()
        assert service.stop() == 0
        assert time.monotonic() - begun < 2
    assert cluster.rows("SELECT worker_id FROM workers") == []


@pytest.mark.parametrize("fault", ["down", "stalled"])
def test_a_worker_stops_though_the_database_does_not_answer(behind: Cluster, proxy: Proxy, fault: str) -> None:
    grace = 1.5
    worker = behind.services.worker(HIGHWAY_GRACE_SECONDS=str(grace))
    idle = behind.services.worker(HIGHWAY_GRACE_SECONDS=str(grace))
    behind.workers_up(2)
    run_id = behind.submit({"a": effect(tool="chaos.hold", gate="g", attempts=1)})
    assert behind.begun(run_id)
    if fault == "down":
        proxy.close()
    else:
        proxy.stall()
    begun = time.monotonic()
    for one in (worker, idle):
        one.send(signal.SIGTERM)
    assert [worker.ends(), idle.ends()] == [0, 0]
    assert time.monotonic() - begun < grace + 2
    assert len(worker.log().splitlines()) < 15
    for service in (behind.services.worker, behind.services.scheduler):
        service(HIGHWAY_DATABASE_URL=behind.url)
    assert behind.over(run_id) == ["completed"]
    all_hold(behind)


def test_a_worker_that_cannot_renew_its_leases_stops_what_it_does_before_they_end(
    behind: Cluster, proxy: Proxy
) -> None:
    """The network swallows everything, and no connection breaks."""
    behind.services.worker()
    behind.workers_up()
    run_id = behind.submit({"a": effect(tool="chaos.listen", gate="never", attempts=1)})
    assert behind.begun(run_id)
    proxy.stall()
    lease_over = "SELECT count(*) FROM task_queue WHERE task_id = 'a' AND lease_until < clock_timestamp()"
    assert eventually((behind.folder / "stopped").exists, within=LEASE * 2)
    assert behind.value(lease_over) == 0
    assert (behind.folder / "stopped").read_text() == "its lease could not be renewed"
    proxy.watch((), lambda: "")
    proxy.reset_all()
    behind.services.scheduler(HIGHWAY_DATABASE_URL=behind.url)
    assert behind.over(run_id) == ["completed"]
    assert eventually(lambda: "works again" in behind.services.logs())
    all_hold(behind)


def test_a_database_that_is_read_only_for_a_while_is_waited_for_and_costs_no_answer(cluster: Cluster) -> None:
    """What a fail-over looks like to who is connected to the old server."""
    name = cluster.value("SELECT current_database()")
    longer = {"HIGHWAY_LEASE_SECONDS": "20"}
    services = [cluster.services.worker(**longer), cluster.services.scheduler(**longer)]
    cluster.workers_up()
    cluster.schedulers_up()
    run_id = cluster.submit({"a": effect(tool="chaos.hold", gate="g"), "b": effect("a")})
    assert cluster.begun(run_id)
    cluster.rows(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    terminate = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'highway%%'"
    cluster.rows(terminate)
    cluster.open_gate("g")
    for service in services:
        service.says("read-only transaction")
    cluster.rows("SET default_transaction_read_only = off")
    cluster.rows(f"ALTER DATABASE {name} SET default_transaction_read_only = off")
    cluster.rows(terminate)
    assert cluster.over(run_id) == ["completed"]
    for service in services:
        service.says("works again")
        assert len(service.log().splitlines()) < 25, service.log()
    assert cluster.counter("late_answers_refused") == 0
    assert cluster.ledger.count(run_id, "a") == 1
    all_hold(cluster)
