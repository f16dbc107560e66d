"""PostgreSQL dies, its connections break, and commits go through that nobody is told of: nothing is lost or doubled."""

from __future__ import annotations

import random
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.cluster import Cluster, effect
from tests.chaos.invariants import all_hold
from tests.chaos.proxy import Proxy
from tests.chaos.server import OwnPostgres
from tests.waiting import eventually

RETRIED = effect(tool="chaos.fail", failures=1) | {"retry_policy": {"max_retries": 2, "delay": 0.05}}
ADD = {"operator_type": "task", "function": "tools.memory.increment", "args": ["total"]}


@pytest.fixture(scope="module")
def server() -> Iterator[OwnPostgres]:
    made = OwnPostgres()
    yield made
    made.close()


@pytest.fixture
def shaken(tmp_path: Path, server: OwnPostgres) -> Iterator[Cluster]:
    """Two workers and a Scheduler on a server that may be killed."""
    made = Cluster(tmp_path, server.database())
    made.services.worker()
    made.services.worker()
    made.services.scheduler()
    made.workers_up(2)
    made.schedulers_up()
    yield made
    made.close()


class Load:
    """Starts runs until it is stopped, each again until it is told that it was started."""

    def __init__(self, cluster: Cluster) -> None:
        self.acknowledged: list[str] = []
        self._cluster = cluster
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> list[str]:
        """The runs that there must be."""
        self._over.set()
        self._thread.join()
        return self.acknowledged

    def _run(self) -> None:
        number = 0
        while not self._over.wait(0.02):
            try:
                run_id = self._cluster.submit(_document(), f"run-{number}")
            except Exception:
                continue
            self.acknowledged.append(run_id)
            number += 1


def _document() -> dict[str, Any]:
    fan = {f"f{n}": effect("a") | {"dependencies": ["a"]} for n in range(3)}
    return {"a": effect(), **fan, "r": RETRIED, "n": ADD, "z": effect(*fan, "r", seconds=0.02)}


@pytest.mark.parametrize("outage", [0.0, 1.5])
def test_postgresql_is_killed_under_load(
    shaken: Cluster, server: OwnPostgres, outage: float, record_property: Any
) -> None:
    """Workers are back within five seconds, and what was committed is there."""
    load = Load(shaken)
    assert shaken.begun(times=40)
    server.kill()
    gone = threading.Event()
    gone.wait(outage)  # the outage itself
    back = server.start()
    so_far = shaken.ledger.count()
    assert shaken.begun(times=so_far + 1)
    seconds = time.monotonic() - back
    assert shaken.begun(times=so_far + 40)
    acknowledged = load.stop()
    assert shaken.over(*acknowledged) == ["completed"] * len(acknowledged)
    print(f"back at work {seconds:.2f} s after PostgreSQL was; {len(acknowledged)} runs")
    record_property("seconds", round(seconds, 2))
    assert seconds < 5
    all_hold(shaken, acknowledged=acknowledged)
    assert re.findall("works again", shaken.services.logs())
    assert shaken.services.logs().count("waits for the database") < 20, "said once by each, not over and over"


def test_one_backend_is_killed_and_takes_all_connections_with_it(shaken: Cluster, server: OwnPostgres) -> None:
    load = Load(shaken)
    for application in ("highway-worker", "highway-heartbeat", "highway scheduler"):
        assert shaken.begun(times=shaken.ledger.count() + 20)
        server.kill_a_backend(application)
        server.answers()
    acknowledged = load.stop()
    assert shaken.over(*acknowledged) == ["completed"] * len(acknowledged)
    all_hold(shaken, acknowledged=acknowledged)


def test_connections_are_reset_again_and_again(behind: Cluster, proxy: Proxy) -> None:
    behind.services.worker()
    behind.services.worker()
    behind.services.scheduler()
    behind.workers_up(2)
    load = Load(behind)
    rng = random.Random(20)
    for _ in range(8):
        before = behind.ledger.count()
        assert behind.begun(times=before + 5), "it goes on between two resets"
        assert proxy.reset_all()
        time.sleep(rng.uniform(0.05, 0.3))  # the schedule of the faults
    acknowledged = load.stop()
    assert behind.over(*acknowledged) == ["completed"] * len(acknowledged)
    all_hold(behind, acknowledged=acknowledged)


def test_what_was_committed_for_a_worker_that_never_learns_it_is_begun_at_once(
    behind: Cluster, proxy: Proxy, record_property: Any
) -> None:
    """Commits, and claims, whose answers get lost; no Scheduler is there that would take a lease away."""
    behind.services.worker()
    behind.workers_up()
    rng = random.Random(7)
    proxy.watch(
        (b"highway_commit(", b"highway_claim(", b"COMMIT"),
        lambda: "cut" if rng.random() < 0.3 and proxy.hits < 30 else "",
    )
    tasks = {"t0": effect()} | {f"t{n}": effect(f"t{n - 1}") for n in range(1, 30)}
    begun = time.monotonic()
    run_ids = [behind.submit(tasks), behind.submit({"fan": effect()} | {f"n{n}": ADD for n in range(10)})]
    assert behind.over(*run_ids) == ["completed"] * 2
    seconds = time.monotonic() - begun
    print(f"{proxy.hits} answers lost, {seconds:.1f} s")
    record_property("seconds", round(seconds, 2))
    assert proxy.hits >= 10
    assert seconds < 10
    assert behind.counter("leases_lost") == 0
    all_hold(behind, acknowledged=run_ids)
    effects = behind.ledger.effects(run_ids[0])
    assert len(effects) == len({one.task for one in effects}) == 30, "nothing was carried out twice either"


def test_a_commit_of_each_kind_that_nobody_learns_of(behind: Cluster, proxy: Proxy) -> None:
    """Starts, forks, loops, retries, timers, events and child runs."""
    behind.services.worker()
    behind.services.scheduler()
    behind.workers_up()
    behind.schedulers_up()
    rng = random.Random(22)
    proxy.watch(
        (b"highway_commit(", b"COMMIT", b"highway_wake(", b"highway_claim("),
        lambda: "cut" if rng.random() < 0.3 and proxy.hits < 60 else "",
    )
    item = {**effect(), "task_id": "item"}
    tasks = {
        "a": effect(),
        "each": {"operator_type": "foreach", "items": [1, 2, 3], "loop_body": [item], "dependencies": ["a"]},
        "nap": {"operator_type": "wait", "wait_for": "PT0.1S", "dependencies": ["a"]},
        "r": RETRIED,
        "n": ADD,
        "go": {"operator_type": "emit_event", "event_name": "go-{{run.id}}", "dependencies": ["nap"]},
        "come": {"operator_type": "wait_for_event", "event_name": "go-{{run.id}}", "timeout_seconds": 60},
        "z": effect("each", "come", "r", "n") | {"kwargs": {}},
    }
    run_ids = [behind.submit(tasks) for _ in range(10)]
    assert behind.over(*run_ids) == ["completed"] * 10
    assert proxy.hits >= 5
    print(f"{proxy.hits} answers lost")
    all_hold(behind, acknowledged=run_ids)


def test_terminated_connections_are_opened_again(shaken: Cluster, server: OwnPostgres) -> None:
    """As an administrator does it, or a fail-over."""
    load = Load(shaken)
    for _ in range(3):
        assert shaken.begun(times=shaken.ledger.count() + 20)
        server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'highway%%'")
    acknowledged = load.stop()
    assert shaken.over(*acknowledged) == ["completed"] * len(acknowledged)
    assert eventually(lambda: "works again" in shaken.services.logs())
    all_hold(shaken, acknowledged=acknowledged)
