"""One run as this process knows it: the run itself, which version of it this is, and what has changed since.

An image is built from the run's rows and brought up to date by those that changed. It is only as good as its version:
a commit names that, and is refused where another process has moved the run on.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from highway_core.engine.asks import StepServices
from highway_core.engine.decisions import Spawn
from highway_core.engine.durable.changes import Changes
from highway_core.engine.durable.pace import Pace
from highway_core.engine.durable.replay import NeedsReloadError, Replay, Row
from highway_core.engine.durable.values import LargeResults, LargeValue, Values
from highway_core.engine.graph import CompiledWorkflow
from highway_core.engine.run import Host, Run
from highway_core.engine.run_state import Instance, ScopeValues
from highway_core.engine.steps import Loop, Steps
from highway_core.errors import StorageError
from highway_core.lifecycle import RUN_FINAL, RunMode, RunStatus, TaskStatus
from highway_core.persistence.durable_connection import moment_of
from highway_core.persistence.transition_store import FENCES, INLINE_BYTES
from highway_core.utils.clock import utc_now
from highway_core.utils.json_values import dumps

IN_QUEUE = frozenset({TaskStatus.QUEUED, TaskStatus.RUNNING})

_IMAGE_BYTES, _SCOPE_BYTES, _TASK_BYTES = 6_500, 1_300, 1_000
"""About what an image takes by itself, for each iteration that is open and for each task of what is open."""


class DurableRun(Run):
    """A run whose results may still be in the database, or in there again."""

    mode = RunMode.DURABLE

    def begin_values(self, large: LargeResults) -> None:
        """Have the run's results read when they are needed."""
        results = Values()
        self.root.outputs, self.root.results = Values(), results
        self.root.values = ScopeValues(self.variables, results, self.memory)
        self._large = large
        self._unstored: list[tuple[Instance, LargeValue]] = []
        """Large results that only the next commit stores."""
        self.kept = 0
        """Characters of small results."""

    def complete(self, instance: Instance, value: Any, text: str) -> None:
        if len(text) > INLINE_BYTES:
            value = LargeValue(self._large, self.run_id, instance.path, value)
            self._unstored.append((instance, value))
        else:
            self.kept += len(text)
        super().complete(instance, value, text)

    def let_go(self) -> None:
        """All results are stored: large ones are held as by a run that is built from its rows."""
        for instance, value in self._unstored:
            value.stored(instance.result_text or "")
            instance.result_text = None
        self._unstored.clear()

    def assume(self, status: RunStatus, error: str | None) -> None:
        """The status that the run's row has."""
        self.status, self.error = status, error

    def hold(self, paused: bool) -> None:
        """Pause the run, or let it go on."""
        self._set_status(RunStatus.PAUSED if paused else RunStatus.RUNNING)


class Image:
    """Only the deciding thread of its process touches it."""

    def __init__(self, row: Row, compiled: CompiledWorkflow, driver: ImageDriver, large: LargeResults) -> None:
        self.run_id: str = row["r"]
        self.version = -1
        self.queue: str = row["q"]
        self.priority: int = row["p"]
        self.parent = (row["pr"], row["pt"], row["pb"]) if row["pr"] else None
        inputs = json.loads(row["inp"]) if row["inp"] else {}
        self.run = DurableRun(compiled, self.run_id, inputs, driver, moment_of(row["at"]) or utc_now())
        self.run.depth = row["depth"]
        self.run.begin_values(large)
        if row["slot"] is not None and "ds" in inputs:
            self.run.info["ds"] = inputs["ds"]  # the day of the slot, in the schedule's zone
        self.changes = Changes(self.run, row["n"])
        self.steps = Steps(self.run, self.changes, driver, driver.services)
        self.replay = Replay(self.run, partial(LargeValue, large, self.run_id), self._respawn)
        self.ready: deque[Instance] = deque()
        """Made ready by a transition; nobody has looked at them yet."""
        self.backlog: deque[Instance] = deque()
        """Work that is ready and stands in no queue, because the run has enough there already."""
        self.children: dict[str, set[str]] = {}
        """The child runs of a task, by its path."""
        self.launches: list[Callable[[], None]] = []
        """What is to be done when the commit has gone through."""
        self.later: deque[Callable[[], None]] = deque()
        self.in_queue: set[Instance] = set()
        """Instances whose work stands in the queue, or is carried out."""
        self.pace = Pace()
        self.taken_over = 0
        """How many tasks its process has taken over one after the other."""
        self.contended = 0
        """How many of the next commits are to be made under the run's lock: somebody else works on it too."""
        self._given = len(row["inp"] or "") + len(row["vars"] or "")
        """Characters of its inputs and variables."""

    def take(self, row: Row, tasks: list[Row], memory: list[Row], children: list[Row]) -> None:
        """Bring the image up to the version of ``row``; NeedsReloadError if that takes a new one."""
        status = RunStatus(row["s"])
        if self.run.is_over and status not in RUN_FINAL:
            raise NeedsReloadError
        first = self.version < 0
        self.run.assume(status, row["e"])
        self.changes.log_seq = row["n"]
        self.run.first_epoch = FENCES * row["n"]  # above every fence that a former activation of the same task had
        if row["vars"] is not None:
            self.run.variables.clear()
            self.run.variables.update(json.loads(row["vars"]))
            if len(row["vars"]) > INLINE_BYTES:
                _share(self.run.inputs, self.run.variables)
        self.run.memory.restore({one["k"]: json.loads(one["v"]) for one in memory})
        for child in children:
            self.children.setdefault(child["t"], set()).add(child["c"])
        self.replay.apply(tasks)
        if first and not self.run.is_over and status is not RunStatus.PENDING:
            self.replay.open_roots()
        self.in_queue = {one for one in self.in_queue if one.status in IN_QUEUE and not one.scope.dead}
        for task in tasks:
            self._count(task)
            self.run.kept += len(task["rs"] or "")
        self.version = row["v"]

    def committed(self) -> None:
        """What has changed is stored."""
        self.version += 1
        self.contended = max(0, self.contended - 1)
        self.changes.committed()
        self.run.let_go()

    @property
    def weight(self) -> int:
        """About how many bytes it takes, without large results."""
        scopes = self.run.scopes
        tasks = len(self.run.root.instances) + scopes.tasks
        state = _IMAGE_BYTES + _SCOPE_BYTES * scopes.open_iterations + _TASK_BYTES * tasks
        return state + 2 * (self.run.kept + self._given)

    def dispose(self) -> None:
        """Nobody needs the image any more: take its circles apart, so that it is freed at once."""
        for scope in self.replay.scopes():
            scope.instances = []
            scope.inner = set()
        self.run.scopes.index = None
        del self.run.scopes, self.steps.asks, self.steps.keys, self.replay, self.steps

    def instance(self, path: str) -> Instance | None:
        """The instance of that path, if it is part of the run's state."""
        return self.replay.instance(path)

    def _count(self, row: Row) -> None:
        instance = self.instance(row["t"])
        # A row that is not in the queue may be of a task that has just been made ready again: it is yet to be placed.
        if instance is None or TaskStatus(row["st"]) not in IN_QUEUE:
            return
        if instance.status in IN_QUEUE and self.steps.asks.works(instance.node):
            self.in_queue.add(instance)

    def _respawn(self, loop: Instance) -> Spawn:
        """What the handler of a loop answers to what it had left."""
        ask = self.steps.asks.ask(loop, self.run.now())
        loop.stop = None
        ask.progress = loop.progress or {}
        answer = self.steps.asks.runner.run(ask)
        if not isinstance(answer, Spawn):
            raise StorageError(f"Run '{self.run_id}': loop '{loop.path}' cannot be taken up again: {answer}.")
        return answer


class ImageDriver(Host, Loop):
    """Who drives the images of a process (``durable.driver``)."""

    services: StepServices


def _share(inputs: Mapping[str, Any], variables: dict[str, Any]) -> None:
    """Do not keep inputs twice that are variables too, and that nobody has changed."""
    for name in variables.keys() & inputs.keys():
        if dumps(variables[name]) == dumps(inputs[name]):
            variables[name] = inputs[name]
