"""LOCAL mode: one thread that decides, threads that work, a heap of timers, and a store.

The deciding thread is the one that calls :meth:`Orchestrator.run`. In each turn it starts what is ready, commits what
changed, and waits for an answer, a timer or a command. Two rules hold it together:

* a task is carried out only after the commit that holds its predecessors, so that a killed process never does
  completed work twice;
* a lone ready task runs on the deciding thread itself: a chain pays for its work, not for switching threads.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

from highway_core.engine.context import ChildOutcome
from highway_core.engine.decisions import AwaitEvent, ChildRun
from highway_core.engine.events import LocalEvents
from highway_core.engine.graph import CompiledWorkflow
from highway_core.engine.inline_work import InlineWork
from highway_core.engine.local_children import ChildRuns, child_outcome
from highway_core.engine.local_runs import DrivenRun, RunListener, RunOpener
from highway_core.engine.local_services import LocalServices
from highway_core.engine.run import Run
from highway_core.engine.run_state import Instance
from highway_core.engine.steps import HUMAN_TASKS, Steps
from highway_core.engine.task_runner import Ask, Failure, Outcome
from highway_core.engine.timers import Timers
from highway_core.engine.worker_threads import WorkerThreads
from highway_core.lifecycle import QueueKind, RunStatus, TaskStatus

logger = logging.getLogger("HighwayEngine")

_BATCH = 256
"""How many changed instances are worth a commit while answers keep coming."""
_MOMENT = 0.002
"""Seconds that may pass between two commits while tasks are being worked on: answers come in swarms."""

Message = tuple[Steps, Instance, Ask, Outcome] | Callable[[], None]
Launch = tuple[Steps, Instance, Ask]


class Orchestrator:
    """Runs one workflow, and the child runs that it starts, to the end in this process."""

    def __init__(
        self,
        workflow_run_id: str,
        workflow: CompiledWorkflow,
        services: LocalServices,
        inputs: Mapping[str, Any] | None = None,
        listener: RunListener | None = None,
    ) -> None:
        self._store = services.store
        self._runner = services.runner
        self._clock = services.clock
        self._listener = listener or RunListener()
        self._inbox: SimpleQueue[Message] = SimpleQueue()
        self._ready: deque[tuple[Run, Instance]] = deque()
        self._backlog: deque[tuple[Run, Instance]] = deque()
        self._launches: list[Launch] = []
        self._threads = WorkerThreads(services.settings.threads)
        self._timers = Timers()
        self._events = LocalEvents()
        self._runs: dict[str, DrivenRun] = {}
        self._commits = 0
        self._given_up: set[tuple[Instance, int]] = set()
        self._interrupted: str | None = None
        self._committed_at = 0.0
        self._uncommitted = 0
        """Changes since the last commit."""
        self._inline: Ask | None = None
        """What the deciding thread carries out itself, while it does."""
        self._inline_work = InlineWork(services.store)
        self._opener = RunOpener(self, services)
        self._children = ChildRuns(self._opener, services.definitions)
        self._root = (workflow_run_id, workflow, dict(inputs or {}))

    def run(self) -> Run:
        """Run to the end and return the run: completed, failed or cancelled.

        RunConflictError if the run id belongs to another document or a living process; StorageError if the store
        fails, which leaves a run that can be resumed.
        """
        run_id, workflow, inputs = self._root
        driven = self._opener.open(run_id, workflow, inputs)
        self._runs[run_id] = driven
        try:
            self._listener.run_started(driven.run)
            if not driven.run.is_over:
                self._begin(driven)
                self._drive(driven.run)
        except KeyboardInterrupt:
            self._give_up_all(driven.run, "KeyboardInterrupt")
            self._commit()
            raise
        finally:
            self._stop_work()
            self._threads.close()
            self._opener.close()
            for one in self._runs:
                self._runner.release(one)
        self._listener.run_over(driven.run)
        return driven.run

    def interrupt(self, reason: str) -> bool:
        """Stop as soon as possible, leaving a run that can be resumed; safe in a signal handler.

        True if the main thread is inside a tool: the caller should raise KeyboardInterrupt there.
        """
        self._interrupted = reason
        self._inbox.put(_nothing)
        return self._stop_inline(reason)

    def cancel(self, reason: str = "Cancelled.") -> None:
        """End the run as cancelled."""
        root = self._root[0]
        self._inbox.put(lambda: self._runs[root].run.terminate(RunStatus.CANCELLED, reason))
        self._stop_inline(reason)

    def _stop_inline(self, reason: str) -> bool:
        """Tell the work on the deciding thread, which cannot hear, to stop.

        True if that is the main thread: only an exception raised there reaches a tool that does not listen.
        """
        ask = self._inline
        if ask is None:
            return False
        if ask.interruptible and threading.current_thread() is threading.main_thread():
            return True
        ask.tool.stop.stop(reason)
        return ask.interruptible

    def add_items(self, task_path: str, items: list[Any]) -> None:
        """Add items to a ``foreach`` with ``dynamic: true`` that is running."""
        self._inbox.put(partial(self._add_items, task_path, items))

    def send_event(self, name: str, payload: Any) -> None:
        """Emit an event from outside."""
        self._inbox.put(partial(self._events.emit, name, payload))

    def _begin(self, driven: DrivenRun) -> None:
        run = driven.run
        deadline = run.compiled.model.deadline
        if deadline is not None:
            left = deadline - (self.now() - run.started_at).total_seconds()
            self.after(max(0.0, left), partial(self._past_deadline, run, deadline))
        run.begin()

    def _drive(self, root: Run) -> None:
        while not root.is_over:
            if self._interrupted is not None:
                self._give_up_all(root, self._interrupted)
            elif self._ready or self._launches:
                self._start_ready()
                self._launch()
            else:
                self._wait()
            self._heed()
        self._commit()

    def _heed(self) -> None:
        """Hear what has come in meanwhile, and let those start for whom a thread is free now."""
        self._drain()
        self._timers.run_due(self._clock.monotonic())
        if self._uncommitted >= _BATCH:
            self._commit()
        for _ in range(min(self._threads.free, len(self._backlog))):
            self._ready.append(self._backlog.popleft())

    def _start_ready(self) -> None:
        """Start what is ready, and what becomes ready by that: not for ever, others want to be heard too."""
        for _ in range(_BATCH):
            if not self._ready or self._interrupted is not None:
                return
            if not self._inbox.empty():
                self._drain()
                continue
            run, instance = self._ready.popleft()
            if instance.is_open and not run.is_over:
                self._start(run, instance)

    def _start(self, run: Run, instance: Instance) -> None:
        driven = self._runs[run.run_id]
        if driven.restorer is not None and instance.status is TaskStatus.QUEUED and driven.restorer.restore(instance):
            return
        waits = instance.status is TaskStatus.WAITING_FOR_CHILDREN
        if not waits and self._runner.works(instance.node) and len(self._launches) >= self._threads.free:
            self._backlog.append((run, instance))
            return
        driven.steps.start(instance)

    def _launch(self) -> None:
        """Carry out what was started, after the commit that it needs."""
        launches, self._launches = self._launches, []
        launches = [one for one in launches if one[1].is_open and one[1].epoch == one[2].fence]
        if not launches:
            return
        alone = len(launches) == 1 and self._may_run_inline(launches[0][1])
        if not alone:
            for steps, instance, _ in launches:
                self._runs[steps.run.run_id].recorder.changed(instance)
        if any(instance.flush_needed > self._commits for _, instance, _ in launches):
            self._commit()
        if alone:
            self._run_inline(*launches[0])
            return
        for steps, instance, ask in launches:
            self._threads.submit(partial(self._work, steps, instance, ask))

    def _may_run_inline(self, instance: Instance) -> bool:
        task = instance.node.task
        alone = self._threads.idle and not self._timers and not self._ready and self._inbox.empty()
        return alone and task.operator_type == "task" and getattr(task, "runtime", "") == "python"

    def _run_inline(self, steps: Steps, instance: Instance, ask: Ask) -> None:
        ask.interruptible = threading.current_thread() is threading.main_thread()
        self._inline_work.begins(self._runs[steps.run.run_id].recorder, instance)
        self._inline = ask
        try:
            if self._interrupted is not None or not self._inbox.empty():  # it came before anybody could stop this here
                self._launches.append((steps, instance, ask))
                return
            outcome = self._runner.run(ask)
        except KeyboardInterrupt:
            self._interrupted = self._interrupted or "KeyboardInterrupt"
            return
        finally:
            self._inline = None
            self._inline_work.over()
        if isinstance(outcome, Failure) and ask.tool.stop.stopped:
            self._stopped_inline(steps, instance, ask, outcome)
        else:
            steps.answered(instance, ask, outcome)

    def _stopped_inline(self, steps: Steps, instance: Instance, ask: Ask, outcome: Failure) -> None:
        """Whoever stopped it has said why, and that comes first: the run was cancelled, or interrupted."""
        self._drain()
        if self._interrupted is None:
            steps.answered(instance, ask, outcome)

    def _work(self, steps: Steps, instance: Instance, ask: Ask) -> None:
        """On a working thread."""
        self._inbox.put((steps, instance, ask, self._runner.run(ask)))

    def _wait(self) -> None:
        """Wait for an answer, a timer or a command; what has changed is committed before."""
        message = self._receive(self._patience())
        if message is None:
            self._commit()
            message = self._receive(self._timers.wait(self._clock.monotonic()))
        if message is not None:
            self._take(message)

    def _receive(self, seconds: float | None) -> Message | None:
        try:
            return self._inbox.get(timeout=seconds)
        except Empty:
            return None

    def _patience(self) -> float:
        """How long an empty inbox is no reason to commit."""
        if self._threads.idle:
            return 0.0
        return max(0.0, self._committed_at + _MOMENT - self._clock.monotonic())

    def _drain(self) -> None:
        """Take what is in the inbox now."""
        for _ in range(self._inbox.qsize()):
            self._take(self._inbox.get_nowait())

    def _take(self, message: Message) -> None:
        if not isinstance(message, tuple):
            message()
            return
        steps, instance, ask, outcome = message
        if (instance, ask.fence) in self._given_up:
            self._given_up.discard((instance, ask.fence))
            self._threads.returned()
            return
        self._threads.done()
        steps.answered(instance, ask, outcome)

    def _commit(self) -> None:
        self._uncommitted = 0
        for driven in list(self._runs.values())[::-1]:  # a parent that is over must not have a child that is not
            changes = driven.recorder.take()
            if not changes.empty:
                self._store.save(changes)
            if driven.run.is_over and driven.run.parent is not None:
                del self._runs[driven.run.run_id]
        self._commits += 1
        self._committed_at = self._clock.monotonic()

    def _give_up_all(self, root: Run, reason: str) -> None:
        """Interrupted: stop what runs, and leave every run so that it can be resumed."""
        message = f"Interrupted by {reason}. Start it again with the same run id to go on."
        root.terminate(RunStatus.CANCELLED, message)

    def _stop_work(self) -> None:
        """Nobody waits any more for what is still being done."""
        for driven in self._runs.values():
            for instance in driven.run.root.all_open():
                self.stop(driven.run, instance, "the run has ended")

    def _past_deadline(self, run: Run, seconds: float) -> None:
        status = RunStatus.FAILED if run.compiled.model.deadline_action == "fail" else RunStatus.CANCELLED
        run.terminate(status, f"The deadline of {seconds:g} s has passed.")

    def _add_items(self, task_path: str, items: list[Any]) -> None:
        for driven in self._runs.values():
            for instance in driven.run.root.all_open():
                if instance.path == task_path and getattr(instance.node.task, "dynamic", False):
                    instance.added.extend(items)
                    return
        logger.warning("Items for '%s' are refused: no dynamic foreach of that path is running.", task_path)

    def now(self) -> datetime:
        return self._clock.now()

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        self._timers.at(self._clock.monotonic() + seconds, action)

    def make_ready(self, run: Run, instance: Instance) -> None:
        instance.flush_needed = self._commits + 1
        self._ready.append((run, instance))

    def changed(self, run: Run, instance: Instance) -> None:
        driven = self._runs[run.run_id]
        driven.recorder.changed(instance)
        self._uncommitted += 1
        if not instance.is_open:
            driven.steps.ended(instance)
        self._listener.task_changed(run, instance)

    def carry_out(self, steps: Steps, instance: Instance, ask: Ask) -> None:
        self._launches.append((steps, instance, ask))
        self._listener.task_changed(steps.run, instance)

    def give_up(self, run: Run, instance: Instance, reason: str, *, kill: bool) -> None:
        self._given_up.add((instance, instance.epoch))
        self._threads.abandon()
        if kill:
            self.stop(run, instance, reason)

    def stop(self, run: Run, instance: Instance, reason: str) -> None:  # noqa: ARG002
        scope, instance.stop = instance.stop, None
        if scope is not None:
            # Killing may take its time (a grace period, a daemon); decisions do not wait for it.
            threading.Thread(target=scope.stop, args=(reason,), name="highway-stop", daemon=True).start()

    def timer(self, steps: Steps, instance: Instance, kind: QueueKind, moment: datetime) -> None:
        seconds = max(0.0, (moment - self.now()).total_seconds())
        self.after(seconds, partial(steps.due, instance, kind, instance.epoch))

    def await_event(self, steps: Steps, instance: Instance, name: str) -> None:
        self._events.wait(name, partial(steps.received, instance, instance.epoch))

    def ask_person(self, steps: Steps, instance: Instance, decision: AwaitEvent) -> str:  # noqa: ARG002
        return HUMAN_TASKS

    def emit(self, run: Run, instance: Instance, name: str, payload: Any) -> None:  # noqa: ARG002
        self._events.emit(name, payload)

    def idempotent(self, key: str) -> str | None:
        return self._store.find_idempotent(key)

    def start_child(self, run: Run, instance: Instance, child: ChildRun) -> None:
        opened = self._children.open(run, instance, child)
        if isinstance(opened, ChildOutcome):
            self._inbox.put(partial(run.scopes.child_over, instance, opened))
            return
        self._runs[opened.run.run_id] = opened
        self._begin(opened)

    def cancel_children(self, run: Run, instance: Instance) -> None:
        self._children.cancel(run, instance)

    def over(self, run: Run) -> None:
        self._runs[run.run_id].recorder.ended(self.now())
        if run.parent is not None:
            parent, instance, child = run.parent
            parent.scopes.child_over(instance, child_outcome(child.branch, run))


def _nothing() -> None:
    """Wakes the loop."""
