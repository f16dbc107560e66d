"""Tasks that harm the worker that carries them out: they end as failed, and nobody else is any the worse for it."""

from __future__ import annotations

import re
import resource
import signal

import pytest

from tests.chaos.cluster import Cluster, effect
from tests.chaos.invariants import all_hold
from tests.waiting import eventually

CHAIN = {"a": effect(), "b": effect("a"), "c": effect("b")}
POISON = r"The worker was lost 3 times while it carried this task out; it is not tried again\."


def test_tasks_that_kill_their_worker_three_times_are_failed_and_their_neighbours_are_not(cluster: Cluster) -> None:
    """By two ways to die, at once and as soon as they have begun. Beside them are tasks that lose a worker with them
    each time, until they stand alone, and others pass by all the time. One worker more than there are neighbours: who
    has its last chance does not begin beside one that has lost a worker."""
    everything = cluster.services.all("--no-api", workers=3, HIGHWAY_LEASE_SECONDS="2").ready()
    neighbours = {f"n{n}": effect(tool="chaos.hold", gate="g", attempts=2) for n in range(2)}
    innocent = cluster.submit({**neighbours, "z": effect(*neighbours)})
    assert cluster.begun(innocent, times=2)
    poison = cluster.submit({way: effect(tool="chaos.die", how=way) for way in ("exit", "segfault")})
    passing: list[str] = []

    def is_over() -> bool:
        passing.append(cluster.submit(CHAIN))
        cluster.over(passing[-1])
        return cluster.status(poison) == "failed"

    assert eventually(is_over, within=90), cluster.unfinished()
    assert {*map(cluster.status, passing)} == {"completed"}, cluster.services.logs()
    cluster.open_gate("g")
    assert cluster.over(innocent) == ["completed"], cluster.services.logs()
    errors = cluster.rows("SELECT error_message FROM tasks WHERE workflow_id = %s", poison)
    assert len(errors) == 2
    assert all(re.fullmatch(POISON, error) for (error,) in errors), errors
    assert 4 <= cluster.ledger.count(poison) <= 6, "one may have died of the other before it began, but not at its last"
    assert all(cluster.ledger.count(innocent, name) <= 3 for name in neighbours)
    assert all(f"ended with {how}" in everything.log() for how in ("SIGSEGV", "exit code 7"))
    all_hold(cluster)
    assert everything.stop() == 0


def test_a_task_that_kills_at_its_last_chance_takes_nobody_with_it_who_stands_in_the_queue(cluster: Cluster) -> None:
    """All the others have their last chance too, and so many of them stand there that whoever claims more beside it
    has some of them in hand when it dies."""
    deciding = cluster.services.worker()
    cluster.services.scheduler()
    cluster.workers_up()
    gate = {"go": {"operator_type": "wait_for_event", "event_name": "go"}}
    poison = cluster.submit({**gate, "p": effect("go", tool="chaos.die", how="exit", after=0.01)}, "a-poison")
    others = {f"n{n}": effect("go", seconds=0.04) for n in range(80)}
    innocent = cluster.submit({**gate, **others}, "b-innocent")
    assert eventually(lambda: cluster.value("SELECT count(*) FROM tasks WHERE status = 'WAITING_FOR_EVENT'") == 2)
    for run_id in (poison, innocent):
        cluster.runs.pause(run_id, "me")
    cluster.runs.emit("go", 1, "me")
    queued = "SELECT count(*) FROM task_queue WHERE kind = 'work' AND status = 'PAUSED'"
    assert eventually(lambda: cluster.value(queued) == 81), cluster.unfinished()
    assert deciding.stop() == 0
    for run_id in (poison, innocent):
        cluster.runs.unpause(run_id, "me")
    cluster.rows("UPDATE task_queue SET lease_losses = 2")
    cluster.rows("UPDATE task_queue SET created_at = created_at - interval '1 minute' WHERE task_id = 'p'")
    killed = cluster.services.worker()
    assert eventually(lambda: killed.process.poll() is not None, within=30)
    cluster.services.worker(HIGHWAY_CONCURRENCY="1")
    assert cluster.over(poison, innocent) == ["failed", "completed"]
    assert killed.process.returncode == 7
    attempts = "SELECT DISTINCT attempt FROM tasks WHERE workflow_id = %s AND task_id LIKE 'n%%'"
    assert cluster.rows(attempts, innocent) == [(1,)]
    all_hold(cluster)


@pytest.fixture
def one_worker(cluster: Cluster) -> Cluster:
    cluster.services.worker(HIGHWAY_CONCURRENCY="2")
    cluster.services.scheduler()
    cluster.workers_up()
    return cluster


def test_what_is_no_exception_fails_the_task_and_not_the_worker(one_worker: Cluster) -> None:
    ways = {"system exit": "SystemExit: 3", "base exception": "BaseException: odd", "interrupt": "KeyboardInterrupt"}
    tasks = {way.replace(" ", "_"): effect(tool="chaos.die", how=way) for way in ways}
    run_id = one_worker.submit(tasks)
    assert one_worker.over(run_id) == ["failed"]
    for way, error in ways.items():
        found = one_worker.rows(
            "SELECT status, attempt, error_message FROM tasks WHERE workflow_id = %s AND task_id = %s",
            run_id,
            way.replace(" ", "_"),
        )
        assert found == [("failed", 1, error)]
    assert one_worker.over(one_worker.submit(CHAIN)) == ["completed"]
    all_hold(one_worker)


def test_a_task_that_opens_every_file_there_is_harms_nobody_else(cluster: Cluster) -> None:
    worker = cluster.services.worker(HIGHWAY_CONCURRENCY="2")
    cluster.services.scheduler()
    cluster.workers_up()
    hard = resource.prlimit(worker.pid, resource.RLIMIT_NOFILE)[1]
    resource.prlimit(worker.pid, resource.RLIMIT_NOFILE, (256, hard))
    run_id = cluster.submit({"a": effect(tool="chaos.die", how="files")})
    assert cluster.over(run_id) == ["failed"]
    assert "Too many open files" in str(
        cluster.rows("SELECT error_message FROM workflows WHERE workflow_id = %s", run_id)
    )
    assert cluster.over(cluster.submit({"r": effect(tool="chaos.relief"), "z": {**effect("r"), "kwargs": {}}})) == [
        "completed"
    ]
    assert cluster.over(cluster.submit(CHAIN)) == ["completed"]
    assert worker.stop() == 0
    all_hold(cluster)


def test_tasks_that_hang_do_not_take_the_worker_with_them(one_worker: Cluster) -> None:
    """As many as it has threads, twice: each is given up at its timeout, and its thread is replaced."""
    hung = effect(tool="chaos.hold", gate="never") | {"timeout_policy": {"timeout": "PT0.2S"}}
    run_id = one_worker.submit({f"h{n}": hung for n in range(4)})
    assert one_worker.over(run_id) == ["failed"]
    assert one_worker.over(one_worker.submit(CHAIN)) == ["completed"]
    all_hold(one_worker, but=["I5"])


def test_a_task_that_stops_its_worker_for_longer_than_its_lease_is_poison_too(cluster: Cluster) -> None:
    """SIGSTOP to itself: nobody ever hears of the worker again."""
    cluster.services.scheduler(HIGHWAY_LEASE_SECONDS="0.7")
    workers = [cluster.services.worker(HIGHWAY_LEASE_SECONDS="0.7") for _ in range(3)]
    cluster.workers_up(3)
    run_id = cluster.submit({"a": effect(tool="chaos.die", how="stop"), "b": effect()})
    losses = "SELECT lease_losses FROM task_queue WHERE workflow_id = %s AND task_id = 'a'"
    assert eventually(lambda: cluster.value(losses, run_id) == 3, within=30), cluster.unfinished()
    heir = cluster.services.worker()
    assert cluster.over(run_id) == ["failed"]
    for worker in workers:
        worker.send(signal.SIGCONT)
    assert cluster.over(cluster.submit(CHAIN)) == ["completed"]
    assert heir.process.poll() is None
    all_hold(cluster)
