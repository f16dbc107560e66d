"""A LOCAL run without threads, clock or store: whatever could happen next is chosen by a random number generator.

The transitions and steps are the real ones; only the loop around them is replaced. So one seed is one order in which
ready tasks start and running tasks finish, and a failure can be replayed.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from highway_core.config import Settings
from highway_core.engine.decisions import AwaitEvent, ChildRun
from highway_core.engine.engine import LocalEngine
from highway_core.engine.graph import CompiledWorkflow
from highway_core.engine.local_services import LocalServices
from highway_core.engine.run import Run
from highway_core.engine.run_records import RunRecorder
from highway_core.engine.run_state import Instance
from highway_core.engine.steps import Steps
from highway_core.engine.task_runner import Ask
from highway_core.lifecycle import TASK_FINAL, QueueKind, TaskStatus
from highway_core.persistence.in_memory import InMemoryPersistenceManager

START = datetime(2030, 1, 1, tzinfo=UTC)


@dataclass
class Simulation:
    """Drives one run. ``moments`` says in which step each instance reached each status."""

    workflow: CompiledWorkflow
    seed: int
    moments: dict[str, dict[str, int]] = field(default_factory=dict)
    step: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._ready: list[tuple[Run, Instance]] = []
        self._working: list[tuple[Steps, Instance, Ask]] = []
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._elapsed = 0.0
        self._engine = LocalEngine(Settings(), InMemoryPersistenceManager())
        self.run = Run(self.workflow, "simulated", {}, self, START)
        services = LocalServices(self._engine.store, self._engine.runner, Settings())
        self._steps = Steps(self.run, RunRecorder(self.run), self, services)

    def drive(self, limit: int = 20_000) -> Run:
        """Run to the end; AssertionError if nothing can happen and the run is not over."""
        self.run.begin()
        while not self.run.is_over:
            self.step += 1
            assert self.step < limit, "the run does not end"
            self._something_happens()
        return self.run

    def _something_happens(self) -> None:
        choices = [
            *(("start", n) for n in range(len(self._ready))),
            *(("answer", n) for n in range(len(self._working))),
        ]
        if choices:
            what, number = self._random.choice(choices)
            if what == "start":
                run, instance = self._ready.pop(number)
                if instance.is_open and not run.is_over:
                    self._steps.start(instance)
            else:
                steps, instance, ask = self._working.pop(number)
                steps.answered(instance, ask, self._engine.runner.run(ask))
            return
        assert self._timers, f"stuck: {self.statuses()}"
        self._timers.sort(key=lambda one: one[:2])
        self._elapsed, _, action = self._timers.pop(0)
        action()

    def statuses(self) -> dict[str, str]:
        """Every instance that ever changed → its last status."""
        return {path: max(seen, key=lambda status: seen[status]) for path, seen in self.moments.items()}

    def final_at(self, path: str) -> int | None:
        """The step in which the instance ended."""
        return next((at for status, at in self.moments.get(path, {}).items() if TaskStatus(status) in TASK_FINAL), None)

    def started_at(self, path: str) -> int | None:
        """The step in which the instance was first started."""
        return self.moments.get(path, {}).get("started")

    # What transitions and steps ask of a loop.

    def now(self) -> datetime:
        return START + timedelta(seconds=self._elapsed)

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        self._timers.append((self._elapsed + seconds, len(self._timers) + self.step * 1000, action))

    def make_ready(self, run: Run, instance: Instance) -> None:
        self._ready.append((run, instance))

    def changed(self, run: Run, instance: Instance) -> None:
        self.moments.setdefault(instance.path, {})[instance.status.value] = self.step
        if not instance.is_open:
            self._steps.ended(instance)

    def carry_out(self, steps: Steps, instance: Instance, ask: Ask) -> None:
        self._working.append((steps, instance, ask))

    def give_up(self, run: Run, instance: Instance, reason: str, *, kill: bool) -> None:
        self._working = [one for one in self._working if one[1] is not instance]

    def stop(self, run: Run, instance: Instance, reason: str) -> None:
        self.give_up(run, instance, reason, kill=True)

    def timer(self, steps: Steps, instance: Instance, kind: QueueKind, moment: datetime) -> None:
        self.after((moment - self.now()).total_seconds(), partial(steps.due, instance, kind, instance.epoch))

    def await_event(self, steps: Steps, instance: Instance, name: str) -> None:
        raise NotImplementedError("random graphs have no events")

    def ask_person(self, steps: Steps, instance: Instance, decision: AwaitEvent) -> str:
        raise NotImplementedError("random graphs ask nobody")

    def emit(self, run: Run, instance: Instance, name: str, payload: Any) -> None:
        raise NotImplementedError("random graphs have no events")

    def start_child(self, run: Run, instance: Instance, child: ChildRun) -> None:
        raise NotImplementedError("random graphs have no child runs")

    def cancel_children(self, run: Run, instance: Instance) -> None:
        """There are none."""

    def over(self, run: Run) -> None:
        """Nothing to store."""


def outcome(simulation: Simulation) -> Mapping[str, Any]:
    """What must not depend on the order in which things happened."""
    run = simulation.run
    return {
        "status": run.status,
        "result": run.result,
        "tasks": simulation.statuses(),
        "outputs": dict(run.root.outputs),
    }
