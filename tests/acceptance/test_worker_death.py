"""Workers die by kill -9 wherever they may be: everything ends, nothing is lost, nothing is recorded twice."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from highway_core.config import Settings
from highway_core.services.scheduler import Scheduler
from tests.chaos.cluster import LEASE, Cluster, effect
from tests.chaos.invariants import all_hold
from tests.waiting import eventually, runs

HELD = effect(tool="chaos.hold", gate="g", attempts=1)
"""Ends at once when it is begun again."""


def after(*names: str, **task: Any) -> dict[str, Any]:
    return {**task, "dependencies": list(names)}


@contextmanager
def locked(cluster: Cluster, statement: str, *values: Any) -> Iterator[None]:
    """What the statement locks is locked meanwhile."""
    connection = cluster.connect()
    connection.autocommit = False
    with connection.cursor() as cursor:
        cursor.execute(statement, values or None)
        yield
    connection.rollback()
    connection.close()


def somebody_waits_for_a_lock(cluster: Cluster, word: str) -> bool:
    """A statement with that word stands still."""
    waiting = """SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
                    AND wait_event_type = 'Lock' AND query LIKE %s"""
    return eventually(lambda: cluster.value(waiting, f"%{word}%"), within=30)


def kill(pid: int) -> float:
    """The moment at which it was."""
    os.kill(pid, signal.SIGKILL)
    at = time.time()
    assert eventually(lambda: not runs(pid))
    return at


def test_whatever_a_killed_worker_was_in_the_middle_of_is_done_by_another(
    cluster: Cluster, record_property: Any
) -> None:
    """In mid-task, in a foreach, in a while, inside a parallel branch, while a retry is due, and with memory."""
    victim = cluster.services.worker(HIGHWAY_CONCURRENCY="20")
    cluster.workers_up()
    item = {**HELD, "task_id": "item", "dependencies": []}
    loop = {"operator_type": "foreach", "items": [1, 2, 3, 4], "parallel": True, "loop_body": [item]}
    again = {
        "operator_type": "while",
        "condition": "{{memory.total}} == null or {{memory.total}} < 3",
        "loop_body": [
            {"task_id": "add", "operator_type": "task", "function": "tools.memory.increment", "args": ["total"]},
            {**HELD, "task_id": "turn", "dependencies": ["add"]},
        ],
    }
    forked = {
        "fan": {"operator_type": "parallel", "branches": {"left": ["l1", "l2"], "right": ["r1"]}},
        "l1": effect("fan") | {"kwargs": {}},
        "l2": after("l1", **{**HELD, "dependencies": []}),
        "r1": after("fan", **{**HELD, "dependencies": []}),
        "joined": {"operator_type": "join", "join_tasks": ["fan"], "join_mode": "all_of"},
    }
    flaky = effect(tool="chaos.fail", failures=1) | {"retry_policy": {"max_retries": 3, "delay": "PT1S"}}
    run_ids = [
        cluster.submit({"a": effect(), "m": after("a", **HELD), "z": effect("m")}),
        cluster.submit({"each": loop, "z": after("each", **(effect() | {"dependencies": []}))}),
        cluster.submit({"turns": again, "z": after("turns", **(effect() | {"dependencies": []}))}),
        cluster.submit(forked),
        cluster.submit({"a": flaky, "z": effect("a")}),
    ]
    held = [(run_ids[0], "m", 1), (run_ids[1], None, 4), (run_ids[2], None, 1), (run_ids[3], "r1", 1)]
    for run_id, task, times in [*held, (run_ids[3], "l2", 1)]:
        assert cluster.begun(run_id, task, times)
    assert eventually(lambda: cluster.task(run_ids[4], "a") == ("WAITING_FOR_TIMER", 1))

    killed_at = kill(victim.pid)
    cluster.open_gate("g")
    cluster.services.worker(HIGHWAY_CONCURRENCY="20")
    cluster.services.scheduler()
    assert cluster.over(*run_ids) == ["completed"] * len(run_ids)

    effects = cluster.ledger.effects(run_ids[0], "m")
    assert [one.attempt for one in effects] == [1, 2]
    assert len(cluster.ledger.effects(run_ids[1])) == 4 * 2 + 1
    assert cluster.counter("leases_lost") == 1 + 4 + 1 + 2
    all_hold(cluster, acknowledged=run_ids)
    record_property("seconds_to_the_next_start", round(effects[1].at - killed_at, 2))


def test_a_killed_workers_task_starts_again_within_five_seconds(cluster: Cluster, record_property: Any) -> None:
    """With leases of two seconds, whenever in the life of a lease the worker dies."""
    cluster.services.scheduler()
    cluster.schedulers_up()
    seconds = []
    for number in range(2):
        victim, heir = cluster.services.worker(), None
        cluster.workers_up(number + 1)
        run_id = cluster.submit({"a": HELD, "b": effect("a")})
        assert cluster.begun(run_id, "a")
        heir = cluster.services.worker()
        cluster.workers_up(number + 2)
        killed_at = kill(victim.pid)
        assert cluster.over(run_id) == ["completed"]
        _, second = cluster.ledger.effects(run_id, "a")
        seconds.append(round(second.at - killed_at, 2))
        heir.send(signal.SIGKILL)
        heir.ends()
    print("seconds from the kill to the next start:", seconds)
    record_property("seconds", seconds)
    assert max(seconds) < 5
    all_hold(cluster)


def test_by_default_it_starts_again_within_forty_seconds() -> None:
    """Not waited for. A Scheduler sleeps no longer than a lease lasts, so it has seen every one before it ends; a
    worker that did not hear of it looks after a while."""
    settings = Settings(database_url="postgresql+psycopg2://x@127.0.0.1/x")
    scheduler = Scheduler(settings)
    assert scheduler.poll_interval <= settings.lease_seconds
    assert settings.lease_seconds + settings.poll_seconds <= 40 - 2
    assert Scheduler(replace(settings, lease_seconds=2.0)).poll_interval <= 2.0


def test_a_worker_that_dies_right_after_an_effect_repeats_it_and_records_it_once(cluster: Cluster) -> None:
    services = [cluster.services.worker(), cluster.services.worker(), cluster.services.scheduler()]
    cluster.workers_up(2)
    run_id = cluster.submit({"a": effect(tool="chaos.die", how="kill", attempts=1), "b": effect("a")})
    assert cluster.over(run_id) == ["completed"]
    assert [one.attempt for one in cluster.ledger.effects(run_id, "a")] == [1, 2]
    assert sum(one.process.poll() is None for one in services) == 2
    all_hold(cluster)


def test_a_worker_that_dies_between_claim_and_start(cluster: Cluster) -> None:
    """It stands still while it reads the run whose work it has claimed."""
    first = cluster.services.worker(HIGHWAY_CONCURRENCY="1")
    cluster.workers_up()
    run_id = cluster.submit({"a": effect(tool="chaos.hold", gate="a"), "b": effect(), "c": effect()})
    assert cluster.begun(run_id, "a")
    with locked(cluster, "LOCK TABLE workflow_memory IN ACCESS EXCLUSIVE MODE"):
        victim = cluster.services.worker()
        assert somebody_waits_for_a_lock(cluster, "highway_load")
        claimed = "SELECT count(*) FROM task_queue WHERE workflow_id = %s AND status = 'running'"
        assert cluster.value(claimed, run_id) == 3
        kill(victim.pid)
    assert [cluster.ledger.count(run_id, task) for task in "bc"] == [0, 0]
    cluster.services.scheduler()
    cluster.open_gate("a")
    assert cluster.over(run_id) == ["completed"]
    assert [cluster.task(run_id, task) for task in "bc"] == [("completed", 2)] * 2
    assert first.process.poll() is None
    all_hold(cluster)


def test_a_worker_that_dies_in_a_commit(cluster: Cluster) -> None:
    """The server goes on without it: what the commit had taken over for the dead worker is not lost either."""
    victim = cluster.services.worker()
    cluster.workers_up()
    run_id = cluster.submit({"a": effect(tool="chaos.hold", gate="a"), "b": effect("a"), "c": effect("b")})
    assert cluster.begun(run_id, "a")
    with locked(cluster, "SELECT 1 FROM workflows WHERE workflow_id = %s FOR UPDATE", run_id):
        cluster.open_gate("a")
        assert somebody_waits_for_a_lock(cluster, "highway_commit")
        kill(victim.pid)
    taken_over = "SELECT count(*) FROM task_queue WHERE task_id = 'b' AND status = 'running'"
    assert eventually(lambda: cluster.value(taken_over) == 1)
    assert cluster.ledger.count(run_id, "b") == 0
    cluster.services.worker()
    cluster.services.scheduler()
    assert cluster.over(run_id) == ["completed"]
    assert cluster.ledger.count(run_id, "a") == 1
    all_hold(cluster)


def test_a_join_fires_once_though_the_workers_of_its_branches_die(cluster: Cluster) -> None:
    cluster.services.scheduler()
    first = cluster.services.worker(HIGHWAY_CONCURRENCY="3")
    cluster.workers_up()
    branches = {f"b{n}": effect(tool="chaos.hold", gate="g", attempts=1) for n in range(9)}
    joined = {"operator_type": "join", "join_tasks": list(branches), "join_mode": "all_of"}
    count = {"operator_type": "task", "function": "tools.memory.increment", "args": ["total"], "dependencies": ["j"]}
    run_id = cluster.submit({**branches, "j": joined, "n": count})
    assert cluster.begun(run_id, times=3)
    second = cluster.services.worker(HIGHWAY_CONCURRENCY="3")
    assert cluster.begun(run_id, times=6)
    threads = [threading.Thread(target=kill, args=(one.pid,)) for one in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    cluster.services.worker(HIGHWAY_CONCURRENCY="3")
    cluster.open_gate("g")
    assert cluster.over(run_id) == ["completed"]
    all_hold(cluster)


def test_the_processes_of_a_tool_die_with_the_worker(cluster: Cluster) -> None:
    victim = cluster.services.worker()
    cluster.workers_up()
    script = "touch begun; sleep 600 & (setsid sleep 600 &) ; sleep 600"
    shell = {"operator_type": "task", "function": "tools.shell.run", "args": [script]}
    cluster.submit({"a": shell})
    assert eventually((cluster.folder / "begun").exists, within=30)
    kill(victim.pid)
    assert eventually(lambda: not cluster.services.left_behind(), within=LEASE + 20)
