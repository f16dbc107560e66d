"""The transitions of one run, in both modes: arrivals, dead paths, branches, scopes, and the end of the run.

It does nothing by itself: whoever drives the run calls it on the deciding thread, and it answers by making instances
ready (``host.make_ready``) and by telling what changed, for the next commit. LOCAL mode keeps the run from its start to
its end; DURABLE mode builds it from its rows when it is needed (``durable.replay``).
Nothing here recurses over the graph, so a chain of 10,000 skipped tasks is skipped in one loop.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Protocol

from highway_core.engine.decisions import Branch, ChildRun, Terminate
from highway_core.engine.graph import CompiledWorkflow, Edge
from highway_core.engine.readiness import Answer, Verdict, Via, decide_ready
from highway_core.engine.run_outcome import branch_outcomes, culprit, members_of, result_of, standing_failures
from highway_core.engine.run_state import Instance, Scope, ScopeValues, TrackedMemory
from highway_core.engine.sub_workflow_runner import SubWorkflowRunner
from highway_core.lifecycle import (
    RUN_FINAL,
    RunMode,
    RunStatus,
    TaskStatus,
    check_run_move,
    check_task_move,
)
from highway_core.utils.json_values import dumps

_ANSWERS: Mapping[TaskStatus, Answer] = {
    TaskStatus.COMPLETED: Answer.SUCCEEDED,
    TaskStatus.FAILED: Answer.FAILED,
    TaskStatus.UPSTREAM_FAILED: Answer.FAILED,
    TaskStatus.CANCELLED: Answer.FAILED,
    TaskStatus.SKIPPED: Answer.SKIPPED,
}


_NOBODY_COUNTS = -1
"""``children_left`` of an instance that was given up: its members may end, and it is not asked again."""


class Host(Protocol):
    """What the transitions ask of whoever drives the run."""

    def make_ready(self, run: Run, instance: Instance) -> None:
        """The instance is QUEUED, or is to be asked again because its children are over."""
        ...

    def start_child(self, run: Run, instance: Instance, child: ChildRun) -> None:
        """Start a run of another workflow; it answers through :meth:`Run.child_over`."""
        ...

    def stop(self, run: Run, instance: Instance, reason: str) -> None:
        """Stop the work of an instance that is running."""
        ...

    def cancel_children(self, run: Run, instance: Instance) -> None:
        """Cancel the child runs of an instance that is given up."""
        ...

    def changed(self, run: Run, instance: Instance) -> None:
        """The instance has a new status that is to be stored."""
        ...

    def over(self, run: Run) -> None:
        """The run has ended."""
        ...

    def now(self) -> datetime: ...


class Run:
    """One run. ``status``, ``error`` and ``result`` are final once the run is over."""

    mode = RunMode.LOCAL
    first_epoch = 0
    """Where the epochs of the tasks of a new iteration begin."""

    def __init__(
        self, compiled: CompiledWorkflow, run_id: str, inputs: Mapping[str, Any], host: Host, started_at: datetime
    ) -> None:
        self.compiled = compiled
        self.run_id = run_id
        self.inputs = dict(inputs)
        self.variables: dict[str, Any] = {**compiled.model.variables, **inputs}
        self.memory = TrackedMemory({})
        self.started_at = started_at
        self.status = RunStatus.PENDING
        self.error: str | None = None
        self.result: Any = None
        self.depth = 0
        """How many runs are above it."""
        self.parent: tuple[Run, Instance, ChildRun] | None = None
        self._host = host
        self.info = {
            "id": run_id,
            "name": compiled.model.name,
            "started_at": started_at.isoformat(),
            "mode": self.mode.value,
        }
        self.scopes = SubWorkflowRunner(self)
        self.root = Scope(compiled.graph, started_at, ScopeValues(self.variables, {}, self.memory))

    @property
    def is_over(self) -> bool:
        return self.status in RUN_FINAL

    def recall(self, status: RunStatus, error: str | None, result: Any) -> None:
        """The run was over before; nothing of it is done again."""
        self.status, self.error, self.result = status, error, result

    def begin(self) -> None:
        """Make the tasks without predecessors ready."""
        self._set_status(RunStatus.RUNNING)
        self.open(self.root)

    def open(self, scope: Scope) -> None:
        """Make the tasks of ``scope`` without predecessors ready."""
        for index in scope.graph.roots:
            self.queue(scope.instances[index])

    def wait_for_children(self, instance: Instance) -> None:
        """The task has opened scopes, branches or child runs."""
        if instance.status is TaskStatus.WAITING_FOR_CHILDREN:
            self._host.changed(self, instance)  # a loop's progress is stored with every iteration
        else:
            self.move(instance, TaskStatus.WAITING_FOR_CHILDREN)

    def ask_again(self, instance: Instance) -> None:
        """What the task waited for is over."""
        self._host.make_ready(self, instance)

    def start_child(self, instance: Instance, child: ChildRun) -> None:
        """Start a run of another workflow below ``instance``."""
        self._host.start_child(self, instance, child)

    def now(self) -> datetime:
        """The run's clock."""
        return self._host.now()

    def move(self, instance: Instance, status: TaskStatus) -> None:
        """The one place where a task of a LOCAL run changes its status."""
        check_task_move(instance.path, instance.status, status)
        instance.status = status
        self._host.changed(self, instance)

    def queue(self, instance: Instance) -> None:
        """The instance may start, for the first time or again."""
        check_task_move(instance.path, instance.status, TaskStatus.QUEUED)
        instance.status = TaskStatus.QUEUED
        self._host.make_ready(self, instance)

    def start(self, instance: Instance) -> None:
        """An attempt begins. Whether that is stored depends on where it is carried out."""
        check_task_move(instance.path, instance.status, TaskStatus.RUNNING)
        instance.status = TaskStatus.RUNNING
        instance.blame = None

    def complete(self, instance: Instance, value: Any, text: str) -> None:
        """The task is completed: its result is seen from now on."""
        instance.result_text = text
        scope, task = instance.scope, instance.node.task
        scope.outputs[task.task_id] = value
        if task.result_key is not None:
            scope.results[task.result_key] = value
        self.end(instance, TaskStatus.COMPLETED)

    def fail(self, instance: Instance, message: str) -> None:
        """The task has failed for good."""
        instance.error = message
        self.end(instance, TaskStatus.FAILED)

    def end(self, instance: Instance, status: TaskStatus) -> None:
        """Give the instance its final status and tell everyone who waits for it."""
        self._settle(instance, status)
        self._tell(deque([instance]))

    def _settle(self, instance: Instance, status: TaskStatus) -> None:
        instance.completed_at = instance.completed_at or self._host.now()  # a restored task keeps its own
        self.move(instance, status)

    def _tell(self, ended: deque[Instance]) -> None:
        """Pass on how instances ended, and how those ended that could not run because of it, until all is said."""
        over: list[Scope] = []
        while ended:
            instance = ended.popleft()
            scope, node = instance.scope, instance.node
            if node.opened and not instance.opened:
                self._fire(instance, node.opened, ended)
            self._fire(instance, node.edges, ended)
            if node.container >= 0:
                self._member_over(scope.instances[node.container])
            scope.open -= 1
            if not scope.open and not scope.dead:
                over.append(scope)
        for scope in over:
            if scope.owner is None:
                self._finish()
            else:
                self.scopes.scope_over(scope)

    def _fire(self, source: Instance, edges: Iterable[Edge], ended: deque[Instance]) -> None:
        for edge in edges:
            target = source.scope.instances[edge.target]
            if target.status is TaskStatus.PENDING:
                count_arrival(source, edge, target)
                self._decide(target, source, edge, ended)

    def reconsider(self, waiting: Iterable[Instance]) -> None:
        """Decide about tasks all of whose answers are in already: they were put back to where they had not begun."""
        ended: deque[Instance] = deque()
        for one in waiting:
            if one.status is TaskStatus.PENDING:
                self._decide(one, None, None, ended)
        self._tell(ended)

    def _decide(self, target: Instance, source: Instance | None, edge: Edge | None, ended: deque[Instance]) -> None:
        match decide_ready(target.node.rule, target.arrivals):
            case Verdict.WAIT:
                return
            case Verdict.RUN:
                target.led_by = source
                self.queue(target)
            case Verdict.SKIP:
                target.led_by = source
                target.error = "its predecessors were skipped"
                if source is not None and edge is not None:
                    target.error = _why_skipped(source, edge)
                if target.scope.forget(target.node):
                    target.result_text = "null"
                self._settle(target, TaskStatus.SKIPPED)
                ended.append(target)
            case Verdict.FAIL_UPSTREAM:
                blamed = target.blame or source
                target.led_by = source
                target.error = "Not started: a predecessor failed"
                if blamed is not None:
                    target.error = f"Not started: '{blamed.path}' {_ended(blamed)}"
                self._settle(target, TaskStatus.UPSTREAM_FAILED)
                ended.append(target)

    def take(self, instance: Instance, decision: Branch) -> None:
        """Go on with the arms that were taken. A gathering operator stays open until its members are over."""
        instance.taken = decision.taken
        if not decision.gather:
            self.complete(instance, decision.result, dumps(decision.result))
            return
        instance.opened = True
        self.move(instance, TaskStatus.WAITING_FOR_CHILDREN)
        if not instance.children_left:  # it has no members, or they were over before the run was reopened
            self._gathered(instance)
            return
        ended: deque[Instance] = deque()
        self._fire(instance, instance.node.opened, ended)
        self._tell(ended)

    def _member_over(self, container: Instance) -> None:
        container.children_left -= 1
        if not container.children_left and container.status is TaskStatus.WAITING_FOR_CHILDREN:
            self._gathered(container)

    def _gathered(self, container: Instance) -> None:
        container.outcomes = branch_outcomes(container)
        self._host.make_ready(self, container)

    def release_children(self, instance: Instance) -> None:
        """Cancel what is open in the branches, scopes and child runs of ``instance``, which is given up."""
        instance.epoch += 1
        inside = [one for one in members_of(instance) if one.is_open]
        cancelled = [*inside]
        for scope in [scope for scope in instance.scope.inner if scope.owner is instance or scope.owner in inside]:
            self.scopes.drop(scope)
            instance.scope.inner.discard(scope)
            cancelled.extend(scope.all_open())
        for one in cancelled:
            self._cancel(one)
        instance.children_left = _NOBODY_COUNTS
        instance.spawn = None
        self._host.cancel_children(self, instance)
        self._tell(deque(inside))

    def _cancel(self, instance: Instance) -> None:
        instance.epoch += 1
        if instance.stop is not None:
            self._host.stop(self, instance, "the task was cancelled")
        self._settle(instance, TaskStatus.CANCELLED)
        self._host.cancel_children(self, instance)

    def terminate_by(self, instance: Instance, decision: Terminate) -> None:
        """A task ends the run: it is completed, what is open is cancelled, and nothing follows it."""
        instance.result_text = dumps(decision.result)
        self._settle(instance, TaskStatus.COMPLETED)
        error = None
        if decision.status is not RunStatus.COMPLETED:
            error = decision.reason or f"Terminated by task '{instance.path}'."
        self.terminate(decision.status, error, decision.result)

    def terminate(self, status: RunStatus, error: str | None, result: Any = None) -> None:
        """End the run now; what is open is cancelled."""
        if self.is_over:
            return
        for instance in list(self.root.all_open()):
            self._cancel(instance)
        self.error, self.result = error, result
        self._set_status(status)
        self._host.over(self)

    def _finish(self) -> None:
        failed = standing_failures(self.root)
        if not failed:
            self.result = result_of(self.root)
            self._set_status(RunStatus.COMPLETED)
        else:
            first = min((culprit(one) for one in failed), key=lambda one: one.completed_at or self.started_at)
            self.error = f"Task '{first.path}' failed: {first.error}"
            self._set_status(RunStatus.FAILED)
        self._host.over(self)

    def _set_status(self, status: RunStatus) -> None:
        check_run_move(self.run_id, self.status, status)
        self.status = status


def count_arrival(source: Instance, edge: Edge, target: Instance) -> None:
    """Add the answer of ``source`` (that it has ended, or opened) to what ``target`` has heard."""
    answer = _answer(source, edge)
    if edge.on is not None and answer is Answer.SUCCEEDED and target.cause is None:
        target.cause = source
    if answer is Answer.FAILED and target.blame is None:
        target.blame = source
    target.arrivals.count(edge.via, answer)


def _answer(source: Instance, edge: Edge) -> Answer:
    """What the end of ``source`` (or its opening) means on this edge."""
    if edge.on is not None:
        happened = {TaskStatus.COMPLETED: Answer.SUCCEEDED, TaskStatus.FAILED: Answer.FAILED}.get(source.status)
        return Answer.SUCCEEDED if happened is edge.on else Answer.SKIPPED
    answer = Answer.SUCCEEDED if source.is_open else _ANSWERS[source.status]
    if edge.labels is None or answer is not Answer.SUCCEEDED:
        return answer
    return Answer.SUCCEEDED if source.taken is not None and edge.labels & source.taken else Answer.SKIPPED


def _why_skipped(source: Instance, edge: Edge) -> str:
    if edge.on is not None:
        return f"'{source.path}' ended as {source.status}"
    if edge.via in {Via.HEAD, Via.MEMBER} and source.taken is not None:
        return f"'{source.path}' took {', '.join(sorted(source.taken)) or 'no arm'}"
    return f"'{source.path}' was skipped"


def _ended(source: Instance) -> str:
    return "failed" if source.status is TaskStatus.FAILED else f"ended as {source.status}"
