"""A worker that carries out what may have cost another its life: what it takes on meanwhile, and that it wakes up.

It looks for work every thirty seconds only, so whatever it overlooked after the pause would come far too late.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from highway_core.tools.context import ToolContext
from highway_core.tools.decorators import tool
from tests.durable_workers import Workers, held, workers
from tests.gauge import GAUGE
from tests.waiting import eventually

SOON = 15.0
"""Seconds; half of what a worker waits that nobody calls."""
PAUSE = 0.95
"""Seconds after the beginning of a suspicious task, on any clock, in which nothing else begins."""
GATES: dict[str, threading.Event] = {}


@tool("test.quarantine.gated")
def gated(context: ToolContext, name: str) -> None:
    """Wait for a gate."""
    with GAUGE.under_way(name):
        while not GATES[name].wait(0.05) and not context.stop.stopped:
            pass


@pytest.fixture
def one_worker(durable_url: str, tmp_path: Path) -> Iterator[Workers]:
    GAUGE.clear()
    GATES.clear()
    with workers(durable_url, tmp_path, 1, poll_seconds=30.0, lease_seconds=10.0, concurrency=4) as opened:
        yield opened
        for gate in GATES.values():
            gate.set()


def behind_a_gate(name: str, *after: str) -> dict[str, Any]:
    GATES[name] = threading.Event()
    return {
        "operator_type": "task",
        "function": "test.quarantine.gated",
        "args": [name],
        "dependencies": list(after),
    }


def begun(name: str) -> float:
    """When it began for the first time, which is waited for."""
    assert eventually(lambda: name in GAUGE.begun, within=SOON), f"'{name}' has not begun"
    return GAUGE.begun[name][0]


class Suspended:
    """A run whose tasks, those of ``losses``, have lost so many leases, and can all be claimed from :meth:`begins`."""

    def __init__(self, working: Workers, losses: dict[str, int], tasks: dict[str, Any]) -> None:
        self._working = working
        self.run_id = working.submit({"go": {"operator_type": "wait_for_event", "event_name": "go"}, **tasks})
        waits = "SELECT 1 FROM tasks WHERE workflow_id = %s AND status LIKE 'WAITING%%'"
        assert eventually(lambda: working.rows(waits, self.run_id), within=SOON)
        working.runs.pause(self.run_id, "me")
        working.runs.emit("go", "1", "me")
        paused = "SELECT 1 FROM task_queue WHERE workflow_id = %s AND kind = 'work' AND status = 'PAUSED'"
        assert eventually(lambda: len(working.rows(paused, self.run_id)) == len(losses), within=SOON)
        for name, number in losses.items():
            working.rows(
                "UPDATE task_queue SET lease_losses = %s WHERE workflow_id = %s AND task_id = %s RETURNING 1",
                number,
                self.run_id,
                name,
            )

    def begins(self) -> None:
        self._working.runs.unpause(self.run_id, "me")


@pytest.mark.parametrize("losses", [1, 2])
def test_another_run_begins_when_a_suspicious_task_has_lived_for_a_second(one_worker: Workers, losses: int) -> None:
    Suspended(one_worker, {"p": losses}, {"p": behind_a_gate("p", "go")}).begins()
    suspicious = begun("p")
    other = one_worker.submit({"a": held("a", 0.0)})
    assert begun("a") - suspicious >= PAUSE
    assert one_worker.ended(other, within=SOON) == ["completed"]


def test_another_run_begins_when_a_suspicious_task_has_its_answer(one_worker: Workers) -> None:
    suspended = Suspended(one_worker, {"p": 2}, {"p": behind_a_gate("p", "go")})
    suspended.begins()
    begun("p")
    other = one_worker.submit({"a": held("a", 0.0)})
    GATES["p"].set()
    assert one_worker.ended(suspended.run_id, other, within=SOON) == ["completed", "completed"]


def test_a_worker_takes_nothing_over_while_a_suspicious_task_is_new(one_worker: Workers) -> None:
    suspended = Suspended(one_worker, {"p": 1}, {"p": behind_a_gate("p", "go")})
    chain = one_worker.submit({"a": behind_a_gate("a"), "b": {**held("b", 0.0), "dependencies": ["a"]}})
    begun("a")
    suspended.begins()
    suspicious = begun("p")
    GATES["a"].set()
    assert begun("b") - suspicious >= PAUSE
    assert one_worker.ended(chain, within=SOON) == ["completed"]


def test_what_was_claimed_with_a_last_chance_begins_later_and_has_lost_no_attempt(one_worker: Workers) -> None:
    tasks = {name: behind_a_gate(name, "go") for name in ("p", "q", "a")}
    suspended = Suspended(one_worker, {"p": 2, "q": 2, "a": 0}, tasks)
    suspended.begins()
    assert eventually(lambda: "p" in GAUGE.begun or "q" in GAUGE.begun, within=SOON)
    first, second = ("p", "q") if "p" in GAUGE.begun else ("q", "p")
    assert begun("a") - begun(first) >= PAUSE
    assert second not in GAUGE.begun
    GATES["a"].set()
    GATES[first].set()
    begun(second)
    GATES[second].set()
    assert one_worker.ended(suspended.run_id, within=SOON) == ["completed"]
    attempts = "SELECT DISTINCT attempt FROM tasks WHERE workflow_id = %s AND task_id IN ('p', 'q', 'a')"
    assert one_worker.rows(attempts, suspended.run_id) == [(1,)]
