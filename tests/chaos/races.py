"""Races between callers, and between callers and workers, at any size: small in the suite, in full from the command.

Each answers with what was seen, after it has made sure that there was one winner each time.
"""

from __future__ import annotations

import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from highway_core.errors import RunStateError
from tests.chaos.cluster import Cluster, effect
from tests.chaos.http import Caller
from tests.chaos.invariants import all_hold
from tests.chaos.workload import ADD, ASK
from tests.waiting import eventually


def at_once(callers: Sequence[Callable[[], Any]]) -> list[Any]:
    """What they answer, all of whom begin at the same moment."""
    barrier = threading.Barrier(len(callers))

    def call(one: Callable[[], Any]) -> Any:
        barrier.wait()
        return one()

    with ThreadPoolExecutor(len(callers)) as pool:
        return list(pool.map(call, callers))


def cancel_against_completion(cluster: Cluster, times: int, seed: int) -> Counter[str]:
    """Runs are cancelled while workers complete them; what was told to whoever cancelled."""
    rng = random.Random(seed)
    pauses = [rng.uniform(0, 0.02) for _ in range(times)]
    told: list[tuple[str, str]] = []

    def race(pause: float) -> None:
        run_id = cluster.submit({"a": effect(), "b": effect("a")})
        threading.Event().wait(pause)  # where in the life of the run it hits is the point
        try:
            told.append((run_id, cluster.runs.cancel(run_id, "chaos").value))
        except RunStateError:
            told.append((run_id, "completed"))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(race, pauses))
    cluster.over()
    all_hold(cluster, acknowledged=[one for one, _ in told], told=told, but=["I5"])
    assert len(told) == times
    return Counter(answer for _, answer in told)


def increments(cluster: Cluster, tasks: int, victim: int | None) -> None:
    """Tasks beside each other on all workers, each of which is followed by an increment; ``victim`` dies halfway."""
    document: dict[str, Any] = {f"e{n}": effect() for n in range(tasks)}
    document |= {f"n{n}": {**ADD, "dependencies": [f"e{n}"]} for n in range(tasks)}
    run_id = cluster.submit(document)
    if victim is not None:
        assert cluster.begun(run_id, times=tasks // 2, within=120)
        os.kill(victim, signal.SIGKILL)
    assert cluster.over(run_id, within=180) == ["completed"]
    total = "SELECT memory_value_json FROM workflow_memory WHERE workflow_id = %s AND memory_key = 'total'"
    assert cluster.value(total, run_id) == str(tasks)
    all_hold(cluster)


def same_keys(cluster: Cluster, callers: int, keys: int) -> None:
    """Everybody starts a run under each key, at the same time; then somebody else wants another run under one."""
    document = {"name": "flow", "tasks": {"a": effect()}}
    names = [f"key-{n}" for n in range(keys)]

    def start_all(number: int) -> dict[str, str]:
        rng = random.Random(number)
        caller = Caller(cluster.services.port, timeout=120)
        answers = {}
        for key in rng.sample(names, keys):
            code, answer = caller.start(document, key)
            assert code == 202, answer
            answers[key] = answer["workflow_id"]
        code, answer = caller.start({"name": "flow", "tasks": {"b": effect()}}, names[0])
        assert (code, answer["code"]) == (409, "run_conflict")
        assert answer["existing_run_id"] == answers[names[0]]
        caller.close()
        return answers

    answers = at_once([lambda number=number: start_all(number) for number in range(callers)])
    assert all(one == answers[0] for one in answers)
    assert cluster.value("SELECT count(*) FROM workflows") == keys
    cluster.over(within=120)
    all_hold(cluster, acknowledged=answers[0].values())


def decisions(cluster: Cluster, approvals: int, runs: int) -> Counter[str]:
    """Each approval is approved and denied at the same moment; what was decided."""
    each = approvals // runs
    for _ in range(runs):
        cluster.submit({f"q{n}": ASK for n in range(each)})
    there = "SELECT count(*) FROM approvals WHERE status = 'PENDING'"
    assert eventually(lambda: cluster.value(there) == each * runs, within=60)
    keys = [key for (key,) in cluster.rows("SELECT approval_id FROM approvals ORDER BY approval_id")]
    verbs = ("approve", "reject")
    pair = threading.Barrier(2)

    def decide(verb: str) -> list[tuple[int, str]]:
        caller = Caller(cluster.services.port)
        answers = []
        for key in keys:
            pair.wait()
            code, answer = caller.ask("POST", f"/api/v1/approvals/{key}/{verb}", {"comment": verb})
            answers.append((code, answer.get("decision") or answer.get("data", {}).get("decision") or str(answer)))
        caller.close()
        return answers

    told = at_once([lambda verb=verb: decide(verb) for verb in verbs])
    decided = dict(cluster.rows("SELECT approval_id, decision FROM approvals"))
    for number, key in enumerate(keys):
        both = [told[0][number], told[1][number]]
        assert sorted(code for code, _ in both) == [200, 409], both
        assert all(decided[key] in said for _, said in both), (decided[key], both)
    cluster.over(within=120)
    all_hold(cluster)
    return Counter(decided.values())


def decisions_at_the_last_moment(cluster: Cluster, rounds: int, seed: int) -> Counter[str]:
    """Each approval is decided at the instant at which its time is over; what came of them, one of two things."""
    rng = random.Random(seed)
    policy = {"timeout": "PT0.6S", "kill_on_timeout": False}
    document = {"q": {**ASK, "timeout_policy": policy}, "z": effect("q")}
    asked = (
        "SELECT approval_id, extract(epoch FROM expires_at - clock_timestamp()) FROM approvals WHERE workflow_id = %s"
    )
    told: dict[str, int] = {}

    def race(early: float) -> None:
        run_id = cluster.submit(document)
        found: list[tuple[Any, ...]] = []
        assert eventually(lambda: found.extend(cluster.rows(asked, run_id)) or found, within=30)
        key, left = found[0]
        caller = Caller(cluster.services.port)
        threading.Event().wait(max(0.0, float(left) - early))  # the instant is the point
        told[run_id], _ = caller.ask("POST", f"/api/v1/approvals/{key}/approve", {})
        caller.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(race, [rng.uniform(-0.003, 0.012) for _ in range(rounds)]))
    cluster.over(within=120)
    outcome = """SELECT t.result_value_json::json ->> 'status', a.status, a.decision FROM approvals a
                   JOIN tasks t USING (workflow_id, task_id) WHERE a.workflow_id = %s AND t.status = 'completed'"""
    seen: Counter[str] = Counter()
    for run_id, code in told.items():
        ends = cluster.rows(outcome, run_id)
        assert ends == [("APPROVED", "DECIDED", "APPROVED") if code == 200 else ("TIMEOUT", "EXPIRED", None)], (
            code,
            ends,
        )
        assert code in {200, 409, 410}, code
        seen[ends[0][0]] += 1
    assert len(told) == rounds
    all_hold(cluster, acknowledged=told)
    return seen
