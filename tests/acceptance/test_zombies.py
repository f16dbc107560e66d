"""Who was stopped, or was not there, for longer than anybody waited: late answers are refused, late timers fire."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import Any

from tests.chaos.cluster import Cluster, effect
from tests.chaos.http import Caller
from tests.chaos.invariants import all_hold
from tests.chaos.proxy import Proxy
from tests.waiting import eventually

CHAIN = {"a": effect(), "b": effect("a"), "c": effect("b")}
NAP = {"operator_type": "wait", "wait_for": "PT0.3S"}
LATE = "late_answers_refused"


def test_a_worker_that_was_stopped_past_its_lease_comes_too_late_and_stops_what_it_does(cluster: Cluster) -> None:
    cluster.services.scheduler()
    zombie = cluster.services.worker()
    cluster.workers_up()
    tasks = {f"late{n}": effect(tool="chaos.hold", gate="late", attempts=1) for n in range(2)}
    tasks["stopped"] = effect(tool="chaos.listen", gate="never", attempts=1)
    run_id = cluster.submit({**tasks, "z": effect(*tasks)})
    assert cluster.begun(run_id, times=3)
    zombie.send(signal.SIGSTOP)
    heir = cluster.services.worker()
    assert cluster.over(run_id) == ["completed"]
    before = cluster.rows("SELECT * FROM event_log WHERE workflow_id = %s ORDER BY seq", run_id)
    assert cluster.counter(LATE) == 0

    cluster.open_gate("late")
    zombie.send(signal.SIGCONT)
    assert eventually(lambda: cluster.counter(LATE) == 2, within=20), cluster.services.logs()
    assert eventually((cluster.folder / "stopped").exists)
    assert cluster.rows("SELECT * FROM event_log WHERE workflow_id = %s ORDER BY seq", run_id) == before
    all_hold(cluster)

    heir.send(signal.SIGKILL)
    heir.ends()
    assert cluster.over(cluster.submit(CHAIN)) == ["completed"], "the zombie is a worker like any other again"


def test_a_worker_that_was_stopped_and_lost_nothing_to_others_may_finish(cluster: Cluster) -> None:
    """No Scheduler was there to take its lease away."""
    worker = cluster.services.worker()
    cluster.workers_up()
    run_id = cluster.submit({"a": effect(tool="chaos.hold", gate="g"), "b": effect("a")})
    assert cluster.begun(run_id)
    worker.send(signal.SIGSTOP)
    lease_over = "SELECT count(*) FROM task_queue WHERE status = 'running' AND lease_until < clock_timestamp()"
    assert eventually(lambda: cluster.value(lease_over) == 1)
    cluster.open_gate("g")
    worker.send(signal.SIGCONT)
    assert cluster.over(run_id) == ["completed"]
    assert (cluster.ledger.count(run_id, "a"), cluster.counter(LATE)) == (1, 0)
    all_hold(cluster)


def test_chains_run_without_a_scheduler_and_timers_are_late_only_by_its_absence(
    cluster: Cluster, record_property: Any
) -> None:
    cluster.services.worker()
    cluster.workers_up()
    first = cluster.services.scheduler()
    cluster.schedulers_up()
    slept = cluster.submit({"nap": NAP, "a": effect("nap") | {"kwargs": {}}})
    assert cluster.over(slept) == ["completed"]
    first.send(signal.SIGKILL)
    first.ends()

    waiting = cluster.submit({"nap": NAP, "a": effect("nap") | {"kwargs": {}}})
    retried = cluster.submit(
        {"a": effect(tool="chaos.fail", failures=1) | {"retry_policy": {"max_retries": 1, "delay": 0.1}}}
    )
    assert cluster.over(cluster.submit(CHAIN)) == ["completed"]
    due = "SELECT count(*) FROM task_queue WHERE due_at < clock_timestamp() AND status = 'WAITING_FOR_TIMER'"
    assert eventually(lambda: cluster.value(due) == 2)
    assert [cluster.task(waiting, "nap")[0], cluster.task(retried, "a")[0]] == ["WAITING_FOR_TIMER"] * 2

    begun = time.monotonic()
    cluster.services.scheduler()
    assert cluster.over(waiting, retried) == ["completed"] * 2
    record_property("seconds_after_a_scheduler_was_started", round(time.monotonic() - begun, 2))
    all_hold(cluster)


def test_schedulers_that_are_stopped_and_killed_fire_nothing_twice_and_lose_nothing(cluster: Cluster) -> None:
    """Two at a time, one of which stands still at any moment, and one dies."""
    cluster.services.worker(HIGHWAY_CONCURRENCY="10")
    schedulers = [cluster.services.scheduler(), cluster.services.scheduler()]
    cluster.workers_up()
    cluster.schedulers_up(2)
    over = threading.Event()

    def torment() -> None:
        turn = 0
        while not over.wait(0.15):
            turn += 1
            schedulers[turn % 2].send(signal.SIGCONT)
            schedulers[1 - turn % 2].send(signal.SIGSTOP)

    tormentor = threading.Thread(target=torment)
    tormentor.start()
    try:
        naps = {f"nap{n}": {"operator_type": "wait", "wait_for": f"PT{n / 40}S"} for n in range(80)}
        run_ids = [cluster.submit({**naps, "z": effect(*naps) | {"kwargs": {}}}) for _ in range(4)]
        assert cluster.over(*run_ids) == ["completed"] * 4
    finally:
        over.set()
        tormentor.join()
    schedulers[0].send(signal.SIGKILL)
    schedulers[1].send(signal.SIGCONT)
    assert cluster.over(cluster.submit({"nap": NAP})) == ["completed"]
    all_hold(cluster)


def test_an_api_that_dies_between_commit_and_answer_has_started_one_run(cluster: Cluster) -> None:
    """Its caller asks again with the same key, and gets the run that is there."""
    proxy = Proxy(cluster.url)
    dying = cluster.services.api(HIGHWAY_DATABASE_URL=proxy.url)
    cluster.services.answers("/readyz", within=30)
    proxy.watch((b"highway_submit",), lambda: "hold")
    document = {"name": "flow", "tasks": CHAIN}
    failed: list[Exception] = []

    def ask() -> None:
        try:
            Caller(cluster.services.port).start(document, "order-1")
        except Exception as error:
            failed.append(error)

    caller = threading.Thread(target=ask)
    caller.start()
    assert proxy.has_hit()
    assert cluster.value("SELECT count(*) FROM workflows") == 1, "it is committed"
    os.kill(dying.pid, signal.SIGKILL)
    caller.join()
    assert failed, "nobody told the caller"
    proxy.close()

    cluster.services.api()
    cluster.services.answers("/readyz", within=30)
    caller_again = Caller(cluster.services.port)
    code, answer = caller_again.start(document, "order-1")
    assert (code, answer["created"]) == (202, False)
    assert cluster.rows("SELECT workflow_id FROM workflows") == [(answer["workflow_id"],)]
    code, refusal = caller_again.start({"name": "flow", "tasks": {"a": effect()}}, "order-1")
    assert (code, refusal["code"], refusal["existing_run_id"]) == (409, "run_conflict", answer["workflow_id"])
    caller_again.close()
    cluster.services.worker()
    assert cluster.over(answer["workflow_id"]) == ["completed"]
    all_hold(cluster, acknowledged=[answer["workflow_id"]])
