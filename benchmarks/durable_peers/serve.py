"""How every system is measured: commands come in as lines of JSON, what was seen goes out; standard library only."""

from __future__ import annotations

import json
import os
import random
import sys
import time
from abc import ABC, abstractmethod
from functools import partial
from typing import Any

SUBMIT_AT_ONCE = 100
"""Runs that a client submits in one transaction. All the systems are able to."""
LONGEST = 600
"""Seconds; a workload that takes longer is given up."""

DATABASE = os.environ.get("BENCH_DATABASE_URL", "")


def step_result(number: int) -> dict[str, Any]:
    """What every step of every system does: a small value that is stored as JSON."""
    return {"step": number, "ok": True, "text": "thirty-two characters of a result"}


class System(ABC):
    """One client of a system whose workers run already. A run is a chain of steps that are durable one by one."""

    version = ""

    @abstractmethod
    def submit_chains(self, runs: int, steps: int) -> None:
        """Hand in runs of so many steps, as many at once as is good for it."""

    @abstractmethod
    def submit_fan_out(self, width: int) -> None:
        """One run: a first step, so many that any worker may take, and a last one that waits for all of them."""

    def submit_gathered(self, width: int) -> None:
        """The same with steps that stay in the process of their run, where a system has that as well."""
        raise NotImplementedError

    @abstractmethod
    def submit_sleeps(self, runs: int, seconds: float) -> None:
        """Hand in runs that do nothing but sleep."""

    @abstractmethod
    def run_one(self) -> None:
        """Submit a run of one step and come back as soon as its result is here."""

    @abstractmethod
    def open_runs(self) -> int:
        """How many runs are not over yet."""

    @abstractmethod
    def steps_done(self) -> int:
        """How many steps are stored as done, in all runs so far."""

    @abstractmethod
    def asleep(self) -> int:
        """How many runs are stored as sleeping."""

    @abstractmethod
    def first_due(self) -> float:
        """When the first of them wakes up, in seconds since 1970."""

    @abstractmethod
    def lateness(self) -> list[float]:
        """Of every run that slept: the seconds between the moment it was due and its end."""


def serve(system: System) -> None:
    """Answer commands until the other side closes."""
    for line in sys.stdin:
        command = json.loads(line)
        answer = _WORKLOADS[command.pop("do")](system, **command)
        print(json.dumps({"version": system.version, **answer}), flush=True)


def _chains(system: System, runs: int, steps: int) -> dict[str, Any]:
    before = system.steps_done()
    begin = time.perf_counter()
    system.submit_chains(runs, steps)
    submitted = time.perf_counter()
    _wait(system, 0.002 if runs == 1 else 0.02)
    end = time.perf_counter()
    _expect(runs * steps, system.steps_done() - before)
    return {"seconds": end - begin, "submit": submitted - begin}


def _fan_out(system: System, width: int, *, gathered: bool = False) -> dict[str, Any]:
    before = system.steps_done()
    begin = time.perf_counter()
    (system.submit_gathered if gathered else system.submit_fan_out)(width)
    _wait(system, 0.002)
    end = time.perf_counter()
    _expect(width + 2, system.steps_done() - before)
    return {"seconds": end - begin}


def _latency(system: System, samples: int) -> dict[str, Any]:
    """Apart from one another by moments of different length, so that no poll of anybody keeps in step."""
    seconds = []
    for _ in range(samples):
        time.sleep(random.uniform(0.005, 0.06))
        begin = time.perf_counter()
        system.run_one()
        seconds.append(time.perf_counter() - begin)
    return {"samples": seconds}


def _sleep_begin(system: System, runs: int, seconds: float) -> dict[str, Any]:
    begin = time.perf_counter()
    system.submit_sleeps(runs, seconds)
    submitted = time.perf_counter()
    deadline = begin + LONGEST
    while system.asleep() < runs and time.time() < system.first_due() and time.perf_counter() < deadline:
        time.sleep(0.1)
    return {
        "submit": submitted - begin,
        "asleep": time.perf_counter() - begin,
        "all": system.asleep() == runs,
        "first_due": system.first_due(),
    }


def _sleep_end(system: System, runs: int) -> dict[str, Any]:
    _wait(system, 0.25)
    late = sorted(system.lateness())
    _expect(runs, len(late))
    return {"p50": late[len(late) // 2], "p99": late[int(len(late) * 0.99)], "most": late[-1]}


def _wait(system: System, pause: float) -> None:
    deadline = time.monotonic() + LONGEST
    while system.open_runs():
        if time.monotonic() > deadline:
            raise SystemExit(f"{system.open_runs()} runs are not over after {LONGEST} s")
        time.sleep(pause)


def _expect(wanted: int, seen: int) -> None:
    if wanted != seen:
        raise SystemExit(f"{wanted} were to be stored, {seen} are")


_WORKLOADS = {
    "chains": _chains,
    "fan_out": _fan_out,
    "gathered": partial(_fan_out, gathered=True),
    "latency": _latency,
    "sleep_begin": _sleep_begin,
    "sleep_end": _sleep_end,
}
