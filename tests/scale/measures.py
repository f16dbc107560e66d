"""What is measured: each function brings one thing about, holds that it came out right, and says what it cost."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Mapping
from typing import Any

from tests.scale.documents import chain, fan_out, foreach, large_iterations, large_results, rounds, sleeper
from tests.scale.system import System
from tests.waiting import eventually

Figures = dict[str, Any]


def _carried_out(system: System, document: Mapping[str, Any], within: float) -> tuple[str, Figures]:
    workflow = system.compile(document)
    cpu = sum(one.cpu for one in system.workers)
    run_id = system.submit(workflow)
    assert system.ends(run_id, within) == "completed", system.logged()
    cost = sum(one.cpu for one in system.workers) - cpu
    peak = max(one.peak for one in system.workers)
    return run_id, {"seconds": round(system.seconds(run_id), 2), "cpu": round(cost, 2), "peak MiB": round(peak)}


def joined_fan_out(system: System, width: int, within: float = 300) -> Figures:
    run_id, figures = _carried_out(system, fan_out(width), within)
    assert system.statuses(run_id) == {"completed": width + 2}
    assert system.completions(run_id, "end") == 1
    return figures


def joined_foreach(system: System, size: int, within: float = 300) -> Figures:
    run_id, figures = _carried_out(system, foreach(size, "scale.quick", "{{each.item}}"), within)
    assert system.statuses(run_id) == {"completed": size + 2}
    assert (system.completions(run_id, "each"), system.completions(run_id, "end")) == (1, 1)
    assert system.result(run_id, "each") == [{"seen": number} for number in range(size)]
    return figures


def long_chain(system: System, length: int, within: float = 300) -> Figures:
    return _carried_out(system, chain(length), within)[1]


def many_rounds(system: System, number: int, within: float = 300) -> Figures:
    return _carried_out(system, rounds(number), within)[1]


def small_runs_behind(system: System, width: int, seconds: float, samples: int = 4) -> Figures:
    """How long chains of three take while ``width`` tasks of so many seconds are being worked off."""
    small = system.compile(chain(3))
    assert system.ends(system.submit(small), 30) == "completed"
    big = system.submit(system.compile(foreach(width, "scale.hold", seconds)))
    assert eventually(lambda: system.statuses(big).get("completed", 0) >= 1, within=60), system.logged()
    waits = []
    for _ in range(samples):
        before = time.monotonic()
        assert system.ends(system.submit(small), 120) == "completed"
        waits.append(time.monotonic() - before)
    assert system.runs.cancel(big, "the test") == "cancelled"
    return {"median s": round(statistics.median(waits), 2), "longest s": round(max(waits), 2)}


def large_payloads(system: System, number: int, size: int) -> Figures:
    run_id, figures = _carried_out(system, large_results(number, size), 300)
    assert [system.result(run_id, path) for path in ("first", "second")] == [size, size]
    run_id, looped = _carried_out(system, large_iterations(number, size), 300)
    assert system.result(run_id, "end") == [{"length": size}] * number
    return {"results": figures, "iterations": looped}


def asleep(system: System, runs: int, seconds: float, idle: float) -> Figures:
    """``runs`` sleep for so many seconds; what all of it costs meanwhile, and how late they wake."""
    began = time.monotonic()
    system.submit_many(system.compile(sleeper(seconds)), runs)
    waiting = "SELECT count(*) FROM task_queue WHERE status = 'WAITING_FOR_TIMER'"
    assert eventually(lambda: system.value(waiting) == runs, within=seconds), system.logged()
    submitted = time.monotonic() - began
    before, cpu = system.transactions(), sum(one.cpu for one in system.services)
    time.sleep(idle)
    used = sum(one.cpu for one in system.services) - cpu
    queries = (system.transactions() - before) * 60 / idle
    ended = "SELECT count(*) FROM workflows WHERE end_time IS NOT NULL"
    assert eventually(lambda: system.value(ended) >= runs, within=seconds + 60), system.logged()
    late = system.fetch(
        "SELECT percentile_disc(ARRAY[0.5, 0.99]) WITHIN GROUP (ORDER BY extract(epoch FROM w.end_time - t.wake_up_at))"
        " FROM tasks t JOIN workflows w USING (workflow_id) WHERE t.operator_type = 'wait'"
    )[0][0]
    return {
        "until asleep s": round(submitted, 1),
        "services' CPU %": round(100 * used / idle, 2),
        "queries a minute": round(queries),
        "late p50 ms": round(float(late[0]) * 1e3),
        "late p99 ms": round(float(late[1]) * 1e3),
    }


def submits(system: System, number: int, waiters: int) -> Figures:
    """One-task runs, and as many threads that each wait for one of them."""
    workflow = system.compile(chain(1))
    began = time.monotonic()
    ids = system.submit_many(workflow, number)
    submitted = time.monotonic() - began
    over: list[bool] = []
    threads = [
        threading.Thread(target=lambda one=one: over.append(system.waiter.wait_for_end(one, 120)))
        for one in ids[-waiters:]
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert over == [True] * waiters
    done = "SELECT count(*) FROM workflows WHERE status = 'completed' AND workflow_id = ANY (%s)"
    assert eventually(lambda: system.value(done, ids) == number, within=120), system.logged()
    taken = time.monotonic() - began
    return {"submitted s": round(submitted, 2), "done s": round(taken, 2), "runs/s": round(number / taken)}


def soak(system: System, seconds: float, at_once: int = 50) -> Figures:
    """Small runs for so long: what every worker has after a third of the time, and at the end."""
    workflow = system.compile(chain(3))
    begin, runs, first = time.monotonic(), 0, None
    while (passed := time.monotonic() - begin) < seconds:
        for run_id in system.submit_many(workflow, at_once):
            assert system.ends(run_id, 60) == "completed"
        runs += at_once
        if first is None and passed > seconds / 3:
            first = (runs, _held(system))
    assert first is not None
    last = _held(system)
    return {"runs": runs, "runs by a third": first[0], "then": first[1], "at the end": last}


def _held(system: System) -> list[dict[str, float]]:
    return [{"MiB": round(one.memory, 1), "files": one.files, "threads": one.threads} for one in system.workers]
