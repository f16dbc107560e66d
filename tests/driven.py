"""A LOCAL run on a thread of its own, for tests that speak to it while it runs."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from highway_core.config import Settings
from highway_core.engine.engine import LocalEngine
from highway_core.engine.loader import Source
from highway_core.engine.local_runs import RunListener
from highway_core.engine.run import Run
from highway_core.engine.run_state import Instance
from highway_core.persistence.in_memory import InMemoryPersistenceManager
from highway_core.persistence.manager import PersistenceManager, SavedRun
from highway_core.tools.context import ToolContext
from highway_core.tools.decorators import tool

PATIENCE = 20.0
"""Seconds after which a run is taken to hang."""


class Gates:
    """What the tools below do in one test: who came in, how many are inside, and who may leave."""

    def __init__(self) -> None:
        self.entered: list[str] = []
        self.stopped: list[str] = []
        self.open: defaultdict[str, threading.Event] = defaultdict(threading.Event)
        self._changed = threading.Condition()
        self._inside = 0
        self.left = 0
        self.most_inside = 0

    def enter(self, path: str) -> None:
        with self._changed:
            self.entered.append(path)
            self._inside += 1
            self.most_inside = max(self.most_inside, self._inside)
            self._changed.notify_all()

    def leave(self) -> None:
        with self._changed:
            self._inside -= 1
            self.left += 1
            self._changed.notify_all()

    def wait_for(self, *paths: str) -> None:
        """Until all these tasks have been started."""
        with self._changed:
            came = self._changed.wait_for(lambda: set(paths) <= set(self.entered), PATIENCE)
            assert came, f"only {self.entered} were started"

    def wait_for_inside(self, number: int) -> bool:
        """Until so many tasks are being carried out at the same time."""
        with self._changed:
            return self._changed.wait_for(lambda: self.most_inside >= number, PATIENCE)


gates = Gates()


@tool("driven.note")
def note(context: ToolContext, value: Any = None) -> Any:
    """Is there and gone."""
    gates.enter(context.task_id)
    gates.leave()
    return value


@tool("driven.fail")
def fail(context: ToolContext) -> None:
    """Is there and raises."""
    gates.enter(context.task_id)
    gates.leave()
    raise RuntimeError("no")


@tool("driven.fail_if")
def fail_if(context: ToolContext, value: Any, bad: Any) -> Any:
    """Raises if the two are equal."""
    if value == bad:
        raise RuntimeError(f"bad value: {value}")
    return value


@tool("driven.hold", stoppable=True)
def hold(context: ToolContext, gate: str, value: Any = None) -> Any:
    """Goes on when the gate is open; hears when it is told to stop."""
    gates.enter(context.task_id)
    try:
        with context.stop.on_stop(gates.open[gate].set):
            assert gates.open[gate].wait(PATIENCE), f"nobody opened {gate}"
        if context.stop.stopped:
            gates.stopped.append(context.task_id)
        context.stop.check()
    finally:
        gates.leave()
    return value


@tool("driven.deaf", stoppable=True)
def deaf(context: ToolContext, gate: str) -> str:
    """Goes on when the gate is open, whatever else it is told; each attempt has its own gate called ``attempt``."""
    own = f"attempt {context.attempt}" if gate == "attempt" else gate
    gates.enter(context.task_id)
    assert gates.open[own].wait(PATIENCE), f"nobody opened {own}"
    gates.leave()
    return own


@tool("driven.together")
def together(context: ToolContext, number: int) -> None:
    """Waits until so many are inside at the same time."""
    gates.enter(context.task_id)
    try:
        assert gates.wait_for_inside(number), f"never {number} at once"
    finally:
        gates.leave()


def call(function: str, *args: Any, after: list[str] | None = None, **more: Any) -> dict[str, Any]:
    """A task."""
    return {"operator_type": "task", "function": function, "args": list(args), "dependencies": after or [], **more}


class Driven:
    """One run: ``start`` it, speak to ``orchestrator``, and take its ``end``."""

    def __init__(
        self,
        tasks: Mapping[str, Any],
        *,
        threads: int = 10,
        store: PersistenceManager | None = None,
        run_id: str = "r",
        folder: Path | None = None,
        listener: RunListener | None = None,
        inputs: Mapping[str, Any] | None = None,
        **document: Any,
    ) -> None:
        self.store = store or InMemoryPersistenceManager()
        self.run_id = run_id
        self._engine = LocalEngine(Settings(threads=threads, workflows_dir=folder), self.store)
        workflow = self._engine.compile(Source({"name": "driven", **document, "tasks": tasks}, "driven"), inputs)
        self.orchestrator = self._engine.orchestrator(workflow, run_id, inputs, listener)
        self._thread = threading.Thread(target=self._run, name=f"driver of {run_id}", daemon=True)
        self._run_or_error: Run | BaseException | None = None

    def _run(self) -> None:
        try:
            self._run_or_error = self.orchestrator.run()
        except BaseException as error:
            self._run_or_error = error

    def start(self) -> Driven:
        self._thread.start()
        return self

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def end(self, within: float = PATIENCE) -> Run:
        """The run when it is over; raises what it raised; AssertionError if it hangs."""
        self._thread.join(within)
        hangs = self._thread.is_alive()
        if hangs:
            self.orchestrator.interrupt("the test")
        assert not hangs, f"the run hangs: { {path: row.status.value for path, row in self.saved().tasks.items()} }"
        self._engine.close()
        if isinstance(self._run_or_error, BaseException):
            raise self._run_or_error
        assert self._run_or_error is not None
        return self._run_or_error

    def run(self) -> Run:
        """From the beginning to the end."""
        return self.start().end()

    def saved(self) -> SavedRun:
        saved = self.store.load_run(self.run_id)
        assert saved is not None
        return saved

    def statuses(self) -> dict[str, str]:
        return {path: row.status.value for path, row in self.saved().tasks.items()}


class Watching(RunListener):
    """Remembers every status, and calls ``on(path, status)`` on the deciding thread."""

    def __init__(self, on: Any = None) -> None:
        self.seen: list[tuple[str, str]] = []
        self._on = on

    def task_changed(self, run: Run, instance: Instance) -> None:
        self.seen.append((instance.path, instance.status.value))
        if self._on is not None:
            self._on(instance.path, instance.status.value)
