"""One task of a run from QUEUED to its next rest: started, carried out, and its outcome applied. In both modes.

All of it happens on the deciding thread but for the work itself. An answer, a timer or an event counts only if the
instance still has the epoch under which it was asked for; otherwise the attempt was given up in the meantime and it
comes too late. What has to happen later is data (a kind and a moment), never a closure: LOCAL keeps it on a heap,
DURABLE in a row.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Protocol, assert_never

from highway_core.engine.asks import Asks, StepServices
from highway_core.engine.decisions import AwaitEvent, Branch, Finish, SleepUntil, Spawn, Terminate
from highway_core.engine.run import Run
from highway_core.engine.run_state import Instance
from highway_core.engine.task_runner import Ask, Completed, Failure, Outcome, retry_delay
from highway_core.errors import ExpressionError, ResultError
from highway_core.lifecycle import QueueKind, TaskStatus
from highway_core.utils.json_values import dumps, loads, to_storable

HUMAN_TASKS = "Human tasks are only supported in DURABLE mode."
TIMED_OUT = "TIMEOUT"
"""Status and reason of an approval that nobody decided in time."""


class Loop(Protocol):
    """What a step asks of the loop that drives it."""

    def now(self) -> datetime: ...

    def timer(self, steps: Steps, instance: Instance, kind: QueueKind, moment: datetime) -> None:
        """Have :meth:`Steps.due` called at ``moment``, with the epoch that the instance has now."""
        ...

    def carry_out(self, steps: Steps, instance: Instance, ask: Ask) -> None:
        """Have the ask answered by a thread; the answer comes to :meth:`Steps.answered`."""
        ...

    def give_up(self, run: Run, instance: Instance, reason: str, *, kill: bool) -> None:
        """A running attempt is no longer waited for; ``kill`` stops what it does."""
        ...

    def await_event(self, steps: Steps, instance: Instance, name: str) -> None:
        """Have :meth:`Steps.received` called with the newest event of that name; at once if there is one already."""
        ...

    def ask_person(self, steps: Steps, instance: Instance, decision: AwaitEvent) -> str | None:
        """Ask for a decision, which comes to :meth:`Steps.received`; or say why nobody can be asked."""
        ...

    def emit(self, run: Run, instance: Instance, name: str, payload: Any) -> None: ...


class Recorder(Protocol):
    """What a step writes down beside the instances themselves."""

    def attempt(self, instance: Instance, status: TaskStatus, now: datetime, error: str | None) -> None:
        """One attempt is over."""
        ...

    def variables(self) -> None:
        """The run's variables have changed."""
        ...


class Keys(Protocol):
    """Idempotency keys: the first task that takes one holds it to its end, others get what it left."""

    def take(self, key: str, instance: Instance, ask: Ask) -> str | None:
        """What is left under ``key``. If that is nothing, the instance now holds the key, or waits for its holder."""
        ...

    def holds(self, instance: Instance) -> bool: ...

    def ended(self, instance: Instance) -> None:
        """An instance has its final status: if it held a key, those who wait for it go on."""
        ...


class Steps:
    """The steps of one run."""

    def __init__(self, run: Run, recorder: Recorder, loop: Loop, services: StepServices) -> None:
        self.run = run
        self.recorder = recorder
        self.asks = Asks(run, services)
        self.keys: Keys | None = None
        self._loop = loop
        self._runner = services.runner
        self._settings = services.settings

    def start(self, instance: Instance) -> None:
        """Begin the next attempt of a QUEUED instance, or ask one again whose children are over."""
        if instance.status is TaskStatus.WAITING_FOR_CHILDREN:
            self._ask_again(instance)
            return
        instance.attempt += 1
        instance.epoch += 1
        instance.started_at = instance.started_at or self._loop.now()  # a resumed loop goes on in its attempt
        instance.wake_at = None
        self.run.start(instance)
        ask = self.asks.ask(instance, self._loop.now())
        ask.progress = instance.progress  # of a resumed run; None otherwise
        self.watch_attempt(instance)
        if "idempotency_key" in instance.node.templates and self._answered_by_key(instance, ask):
            return
        self.carry_out(instance, ask)

    def carry_out(self, instance: Instance, ask: Ask) -> None:
        """Have the ask answered: here if it is quick, else by a thread."""
        if not self._runner.works(instance.node):
            self.answered(instance, ask, self._runner.run(ask))
        elif self._runner.is_transactional(instance.node):
            self._run_transactional(instance, ask)
        else:
            self._loop.carry_out(self, instance, ask)

    def _run_transactional(self, instance: Instance, ask: Ask) -> None:
        """Memory tools run here, so that their effect is stored in the commit that completes the task; so does asking a
        person, whose timeout is that of the decision and cannot be over before anybody was asked."""
        memory = self.run.memory
        memory.begin()
        outcome = self._runner.run(ask)
        if not isinstance(outcome, Failure):
            try:
                memory.check(self._settings.max_result_bytes)
            except ResultError as error:
                outcome = Failure(str(error), retryable=False)
        if isinstance(outcome, Failure):
            memory.undo()
        self.answered(instance, ask, outcome)

    def _ask_again(self, instance: Instance) -> None:
        ask = self.asks.ask(instance, self._loop.now())
        ask.progress = instance.progress or {}
        ask.children = list(instance.outcomes)
        ask.added, instance.added = instance.added, []
        self.answered(instance, ask, self._runner.run(ask))

    def _answered_by_key(self, instance: Instance, ask: Ask) -> bool:
        """True if the task's idempotency key has a result already, or soon will have."""
        try:
            key = f"{ask.tool.workflow_name}:{instance.node.templates['idempotency_key'].resolve(ask.view)}"
        except ExpressionError as error:
            self.failed(instance, Failure(f"idempotency_key: {error}", retryable=False))
            return True
        assert self.keys is not None  # noqa: S101 - whoever makes the steps gives them their keys
        left = self.keys.take(key, instance, ask)
        if left is not None:
            self.complete_as(instance, left)
        return left is not None or not self.keys.holds(instance)

    def complete_as(self, instance: Instance, stored: str) -> None:
        """Complete with what another execution under the same idempotency key left."""
        left = loads(stored)
        if "taken" in left and not instance.node.branches:  # branches are not opened a second time
            instance.taken = frozenset(left["taken"])
        self.run.complete(instance, left["result"], dumps(left["result"]))

    def ended(self, instance: Instance) -> None:
        """An instance has its final status."""
        if self.keys is not None:
            self.keys.ended(instance)

    def answered(self, instance: Instance, ask: Ask, outcome: Outcome) -> None:
        """Apply what an attempt, or a handler, answered."""
        if instance.epoch != ask.fence or not instance.is_open:
            return
        instance.stop = None
        match outcome:
            case Completed():
                self._complete(instance, ask, outcome)
            case Failure():
                self.failed(instance, outcome)
            case Terminate():
                self.run.terminate_by(instance, outcome)
            case Finish():
                raise AssertionError("the task runner turns Finish into Completed")
            case _:
                self._park(instance, outcome)

    def _park(self, instance: Instance, decision: SleepUntil | AwaitEvent | Branch | Spawn) -> None:
        """The task goes on later: with the clock, an event, or its children."""
        match decision:
            case SleepUntil():
                self.sleep(instance, decision.moment)
            case AwaitEvent():
                self._await(instance, decision)
            case Branch():
                self._take(instance, decision)
            case Spawn():
                self.run.scopes.spawn(instance, decision)
                if self._runner.works(instance.node) and instance.is_open:
                    self.watch_attempt(instance)  # it no longer works: somebody else watches it
            case _:
                assert_never(decision)

    def _take(self, instance: Instance, decision: Branch) -> None:
        refused = None if decision.gather else self._refused(instance, decision.result)
        if refused is not None:
            self.failed(instance, refused)
            return
        if decision.timeout is not None:
            self.watch_branches(instance)
        self.run.take(instance, decision)

    def _complete(self, instance: Instance, ask: Ask, outcome: Completed) -> None:
        if ask.tool.changed_variables:
            try:
                changed, _ = to_storable(
                    ask.tool.changed_variables, max_bytes=self._settings.max_result_bytes, name="variables"
                )
            except ResultError as error:
                self.failed(instance, Failure(str(error), retryable=False))
                return
            self.run.variables.update(changed)
            self.recorder.variables()
        self._note_attempt(instance, TaskStatus.COMPLETED, None)
        self.run.complete(instance, outcome.value, outcome.text)
        if outcome.emits is not None:
            self._loop.emit(self.run, instance, *outcome.emits)

    def emit(self, instance: Instance, name: str, payload: Any) -> None:
        """Let an event be heard again that a restored task had emitted."""
        self._loop.emit(self.run, instance, name, payload)

    def failed(self, instance: Instance, failure: Failure) -> None:
        """The attempt failed: try again after the delay of the retry policy, or fail for good."""
        self._note_attempt(instance, TaskStatus.FAILED, failure.message)
        instance.epoch += 1
        if instance.status is TaskStatus.WAITING_FOR_CHILDREN:
            self.run.release_children(instance)
        task = instance.node.task
        delay = None
        if failure.retryable and not instance.node.branches:
            delay = retry_delay(task, self.run.compiled.model.default_retry_policy, instance.attempt)
        if delay is None:
            self.run.fail(instance, failure.message)
            return
        if instance.status is not TaskStatus.RUNNING:
            self.run.move(instance, TaskStatus.RUNNING)
        self.delay(instance, self._loop.now() + timedelta(seconds=delay), failure.message)

    def delay(self, instance: Instance, moment: datetime, message: str | None) -> None:
        """The next attempt of a running task begins at ``moment``; ``message`` is why the last one failed."""
        instance.reset()
        if instance.node.task.operator_type == "while":
            instance.scope.forget_iterations(instance.node)
        instance.error = message
        instance.wake_at = moment
        instance.epoch += 1
        self.run.move(instance, TaskStatus.WAITING_FOR_TIMER)
        self._loop.timer(self, instance, QueueKind.RETRY, moment)

    def wait_for_key(self, instance: Instance, moment: datetime) -> None:
        """Somebody else holds the task's idempotency key: begin the same attempt again at ``moment``."""
        policy = instance.node.task.attempt_timeout
        if policy is not None:
            end = (instance.started_at or self._loop.now()) + policy.timeout
            if end <= self._loop.now():
                self._expired(instance, QueueKind.TIMEOUT)
                return
            moment = min(moment, end)
        instance.attempt -= 1
        instance.epoch += 1
        instance.stop = None
        instance.wake_at = moment
        self.run.move(instance, TaskStatus.WAITING_FOR_TIMER)
        self._loop.timer(self, instance, QueueKind.KEY, moment)

    def _note_attempt(self, instance: Instance, status: TaskStatus, error: str | None) -> None:
        if self._runner.works(instance.node):
            self.recorder.attempt(instance, status, self._loop.now(), error)

    def watch_attempt(self, instance: Instance) -> None:
        """Hold the current attempt to the task's timeout."""
        policy = instance.node.task.attempt_timeout
        if policy is not None:
            self._watch(instance, policy.timeout.total_seconds(), QueueKind.TIMEOUT)

    def watch_branches(self, instance: Instance) -> None:
        """Hold the branches of a gathering operator to its timeout."""
        seconds = getattr(instance.node.task, "timeout", None)
        if seconds is not None:
            self._watch(instance, seconds, QueueKind.BRANCH_TIMEOUT)

    def _watch(self, instance: Instance, seconds: float, kind: QueueKind) -> None:
        began = instance.started_at or self._loop.now()
        try:
            self._loop.timer(self, instance, kind, began + timedelta(seconds=seconds))
        except OverflowError:
            return  # nobody lives to see it

    def due(self, instance: Instance, kind: QueueKind, epoch: int) -> None:
        """A moment has come that was asked for under ``epoch``."""
        if instance.epoch != epoch or not instance.is_open:
            return
        match kind:
            case QueueKind.WAKE:
                self._complete_with(instance, None)
            case QueueKind.RETRY | QueueKind.KEY:
                self._next_attempt(instance, kind)
            case QueueKind.EVENT:
                self._missed(instance)
            case QueueKind.APPROVAL:
                self._undecided(instance)
            case QueueKind.TIMEOUT | QueueKind.BRANCH_TIMEOUT:
                self._expired(instance, kind)
            case _:
                raise AssertionError(f"{kind} is no timer of a task")

    def _next_attempt(self, instance: Instance, kind: QueueKind) -> None:
        if instance.status is not TaskStatus.WAITING_FOR_TIMER:
            return  # heard already: whoever told it did not know whether that was stored
        if kind is QueueKind.RETRY:
            instance.error = None
            instance.started_at = None
        self.run.queue(instance)

    def _expired(self, instance: Instance, kind: QueueKind) -> None:
        policy = instance.node.task.attempt_timeout
        if kind is QueueKind.BRANCH_TIMEOUT:
            limit = f"timeout: {getattr(instance.node.task, 'timeout', None) or 0:g} s"
        else:
            limit = "timeout_policy" if policy is None else f"timeout_policy: {policy.timeout.total_seconds():g} s"
        message = f"timed out ({limit})"
        if instance.stop is not None:
            self._loop.give_up(self.run, instance, message, kill=policy is None or policy.kill_on_timeout)
        self.failed(instance, Failure(f"Task '{instance.path}' {message}"))

    def sleep(self, instance: Instance, moment: datetime) -> None:
        """Complete the task at ``moment``; a moment in the past is now."""
        if moment <= self._loop.now():
            self._complete_with(instance, None)
            return
        instance.wake_at = moment
        self.run.move(instance, TaskStatus.WAITING_FOR_TIMER)
        self._loop.timer(self, instance, QueueKind.WAKE, moment)

    def _complete_with(self, instance: Instance, value: Any) -> None:
        """Complete a task that waited, unless a postcondition refuses the value."""
        refused = self._refused(instance, value)
        if refused is None:
            self.run.complete(instance, value, dumps(value))
        else:
            self.failed(instance, refused)

    def _refused(self, instance: Instance, value: Any) -> Failure | None:
        if not instance.node.task.postconditions:
            return None
        return self._runner.refused(instance.node, self.asks.view(instance), value)

    def _await(self, instance: Instance, decision: AwaitEvent) -> None:
        kind = QueueKind.EVENT
        if decision.approval is not None:
            kind = QueueKind.APPROVAL
            instance.epoch += 1  # the timeout of the attempt is now that of the decision
            refused = self._loop.ask_person(self, instance, decision)
            if refused is not None:
                self.failed(instance, Failure(refused, retryable=False))
                return
        else:
            self._loop.await_event(self, instance, decision.name)
        if not instance.is_open:
            return
        instance.wake_at = decision.deadline
        self.run.move(instance, TaskStatus.WAITING_FOR_EVENT)
        if decision.deadline is not None:
            self._loop.timer(self, instance, kind, decision.deadline)

    def received(self, instance: Instance, epoch: int, payload: Any) -> None:
        """The event that the instance waits for has come, or the decision of a person."""
        if instance.epoch == epoch and instance.is_open:
            self._complete_with(instance, payload)

    def _missed(self, instance: Instance) -> None:
        name = instance.node.templates.get("event_name")
        shown = (
            getattr(instance.node.task, "event_name", "") if name is None else name.resolve(self.asks.view(instance))
        )
        seconds = instance.node.task.timeout_seconds or 0
        self.failed(instance, Failure(f"No event '{shown}' came within {seconds:g} s"))

    def _undecided(self, instance: Instance) -> None:
        policy = instance.node.task.attempt_timeout
        if policy is not None and policy.kill_on_timeout:
            self.failed(instance, Failure(f"Task '{instance.path}' timed out: nobody decided in time"))
        else:
            self._complete_with(instance, {"status": TIMED_OUT, "reason": TIMED_OUT})
