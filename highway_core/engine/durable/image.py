"""One run as this process knows it: the run itself, which version of it this is, and what has changed since.

An image is built from the run's rows and brought up to date by those that changed. It is only as good as its version:
a commit names that, and is refused where another process has moved the run on.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Mapping

from highway_core.engine.asks import StepServices
from highway_core.engine.decisions import Spawn
from highway_core.engine.durable.changes import Changes
from highway_core.engine.durable.pace import Pace
from highway_core.engine.durable.replay import NeedsReloadError, Replay, Row
from highway_core.engine.durable.values import StoredValue, Values
from highway_core.engine.graph import CompiledWorkflow
from highway_core.engine.run import Host, Run
from highway_core.engine.run_state import Instance, ScopeValues
from highway_core.engine.steps import Loop, Steps
from highway_core.errors import StorageError
from highway_core.lifecycle import RUN_FINAL, RunMode, RunStatus, TaskStatus
from highway_core.persistence.durable_connection import moment_of
from highway_core.persistence.transition_store import FENCES
from highway_core.utils.clock import utc_now

IN_QUEUE = frozenset({TaskStatus.QUEUED, TaskStatus.RUNNING})


class DurableRun(Run):
    """A run whose results may still be in the database."""

    mode = RunMode.DURABLE

    def begin_values(self) -> None:
        """Have the run's results read when they are needed."""
        results = Values()
        self.root.outputs, self.root.results = Values(), results
        self.root.values = ScopeValues(self.variables, results, self.memory)

    def assume(self, status: RunStatus, error: str | None) -> None:
        """The status that the run's row has."""
        self.status, self.error = status, error

    def hold(self, paused: bool) -> None:
        """Pause the run, or let it go on."""
        self._set_status(RunStatus.PAUSED if paused else RunStatus.RUNNING)


class Image:
    """Only the deciding thread of its process touches it."""

    def __init__(
        self, row: Row, compiled: CompiledWorkflow, driver: ImageDriver, fetch: Callable[[str, str], str]
    ) -> None:
        self.run_id: str = row["r"]
        self.version = -1
        self.queue: str = row["q"]
        self.priority: int = row["p"]
        self.parent = (row["pr"], row["pt"], row["pb"]) if row["pr"] else None
        inputs = json.loads(row["inp"]) if row["inp"] else {}
        self.run = DurableRun(compiled, self.run_id, inputs, driver, moment_of(row["at"]) or utc_now())
        self.run.depth = row["depth"]
        self.run.begin_values()
        if row["slot"] is not None and "ds" in inputs:
            self.run.info["ds"] = inputs["ds"]  # the day of the slot, in the schedule's zone
        self.changes = Changes(self.run, row["n"])
        self.steps = Steps(self.run, self.changes, driver, driver.services)
        self.replay = Replay(self.run, lambda path: fetch(self.run_id, path), self._respawn)
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
        self.run.memory.restore({one["k"]: json.loads(one["v"]) for one in memory})
        for child in children:
            self.children.setdefault(child["t"], set()).add(child["c"])
        self.replay.apply(tasks)
        if first and not self.run.is_over and status is not RunStatus.PENDING:
            self.replay.open_roots()
        self.in_queue = {one for one in self.in_queue if one.status in IN_QUEUE and not one.scope.dead}
        for task in tasks:
            self._count(task)
        self.version = row["v"]

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


def stored(text: str) -> StoredValue:
    """A value that is there already, as text."""
    return StoredValue(text, lambda: text)


RowsByRun = Mapping[str, list[Row]]
