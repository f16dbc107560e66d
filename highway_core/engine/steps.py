"""One task of a LOCAL run from QUEUED to its next rest: started, carried out, and its outcome applied.

All of it happens on the deciding thread but for the work itself. An answer counts only if the instance still has the
epoch under which it was asked; otherwise the attempt was given up in the meantime and its answer comes too late.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Protocol, assert_never

from highway_core.engine.data import DataView
from highway_core.engine.decisions import AwaitEvent, Branch, Finish, SleepUntil, Spawn, Terminate
from highway_core.engine.idempotency import IdempotencyKeys
from highway_core.engine.local_run import LocalRun
from highway_core.engine.local_services import LocalServices
from highway_core.engine.run_records import RunRecorder
from highway_core.engine.run_state import Instance
from highway_core.engine.task_runner import Ask, Completed, Failure, Outcome, retry_delay
from highway_core.errors import ExpressionError, ResultError
from highway_core.lifecycle import TaskStatus
from highway_core.tools.context import ToolContext
from highway_core.utils.json_values import dumps, loads, to_storable
from highway_core.utils.stopping import StopScope

HUMAN_TASKS = "Human tasks are only supported in DURABLE mode."
_NO_EXTRAS: Mapping[str, Any] = {}


class Loop(Protocol):
    """What a step asks of the loop that drives it."""

    def now(self) -> datetime: ...

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Run ``action`` on the deciding thread when ``seconds`` have passed."""
        ...

    def carry_out(self, steps: Steps, instance: Instance, ask: Ask) -> None:
        """Have the ask answered by a thread; the answer comes to :meth:`Steps.answered`."""
        ...

    def give_up(self, instance: Instance, reason: str, *, kill: bool) -> None:
        """A running attempt is no longer waited for; ``kill`` stops what it does."""
        ...

    def await_event(self, name: str, receive: Callable[[Any], None]) -> None: ...

    def emit(self, name: str, payload: Any) -> None: ...

    def idempotent(self, key: str) -> str | None:
        """The JSON of the result under an idempotency key, or None."""
        ...


class Steps:
    """The steps of one run."""

    def __init__(self, run: LocalRun, recorder: RunRecorder, loop: Loop, services: LocalServices) -> None:
        self.run = run
        self.recorder = recorder
        self._loop = loop
        self._runner = services.runner
        self._settings = services.settings
        self._sandbox = services.sandbox
        self._keys = IdempotencyKeys(loop.idempotent)

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
        ask = self._ask(instance)
        ask.progress = instance.progress  # of a resumed run; None otherwise
        self.watch_attempt(instance)
        if "idempotency_key" in instance.node.templates and self._answered_by_key(instance, ask):
            return
        self._carry_out(instance, ask)

    def _carry_out(self, instance: Instance, ask: Ask) -> None:
        if not self._runner.works(instance.node):
            self.answered(instance, ask, self._runner.run(ask))
        elif self._runner.is_transactional(instance.node):
            self._run_transactional(instance, ask)
        else:
            self._loop.carry_out(self, instance, ask)

    def _run_transactional(self, instance: Instance, ask: Ask) -> None:
        """Memory tools run here, so that their effect is stored in the commit that completes the task."""
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
        ask = self._ask(instance)
        ask.progress = instance.progress or {}
        ask.children = list(instance.outcomes)
        ask.added, instance.added = instance.added, []
        self.answered(instance, ask, self._runner.run(ask))

    def _ask(self, instance: Instance) -> Ask:
        run, scope = self.run, instance.scope
        instance.stop = stop = StopScope()
        tool = ToolContext(
            run_id=run.run_id,
            workflow_name=run.compiled.model.name,
            task_id=instance.path,
            attempt=instance.attempt,
            settings=self._settings,
            stop=stop,
            state=scope.values,
            sandbox=self._sandbox,
            inputs=run.inputs,
            idempotency_key=f"{run.run_id}:{instance.path}",
        )
        view = self._view(instance)
        return Ask(instance.node, instance.path, instance.attempt, view, self._loop.now(), tool, instance.epoch)

    def _view(self, instance: Instance) -> DataView:
        run, scope = self.run, instance.scope
        extras = _NO_EXTRAS
        if instance.cause is not None:
            extras = {"failed_task_id": instance.cause.node.task_id, "error_message": instance.cause.error or ""}
        if instance.node.aliases:
            loops = {frame.operator_id for frame in scope.loops}  # {{each.item}} means the loop, not its result
            aliases = instance.node.aliases.items()
            extras = {**extras, **{name: scope.outputs.get(one) for name, one in aliases if name not in loops}}
        # What calls tools has no such field; asking its model all the same would cost 2 µs.
        source = None if self._runner.works(instance.node) else getattr(instance.node.task, "output_of", None)
        if source is not None:
            extras = {**extras, "output": scope.outputs.get(source)}
        return DataView(
            run.variables,
            run.inputs,
            scope.results,
            scope.outputs,
            run.memory,
            scope.loops,
            extras,
            run.info,
            self._settings.secret,
            self._env,
            scope.graph.names,
        )

    def _env(self, name: str) -> str | None:
        return self._settings.environ.get(name) if name in self._settings.env_allowed else None

    def _answered_by_key(self, instance: Instance, ask: Ask) -> bool:
        """True if the task's idempotency key has a result already, or soon will have."""
        try:
            key = f"{ask.tool.workflow_name}:{instance.node.templates['idempotency_key'].resolve(ask.view)}"
        except ExpressionError as error:
            self.failed(instance, Failure(f"idempotency_key: {error}", retryable=False))
            return True
        left = self._keys.take(key, instance, ask)
        if left is not None:
            self._complete_as(instance, left)
        return left is not None or not self._keys.holds(instance)

    def ended(self, instance: Instance) -> None:
        """An instance has its final status: if it held an idempotency key, those who wait for it go on."""
        key = self._keys.leave(instance)
        if key is None:
            return
        stored = self._keys.left_under(key)
        if stored is not None:
            self.recorder.idempotent(key, stored)
        self._loop.after(0.0, partial(self._pass_on, key))

    def _pass_on(self, key: str) -> None:
        stored = self._keys.left_under(key)
        if stored is not None:
            for one in self._keys.all_waiting(key):
                self._complete_as(one, stored)
            return
        following = self._keys.next_holder(key)
        if following is not None:
            self._carry_out(*following)

    def _complete_as(self, instance: Instance, stored: str) -> None:
        """Complete with what another execution under the same idempotency key left."""
        left = loads(stored)
        if "taken" in left and not instance.node.branches:  # branches are not opened a second time
            instance.taken = frozenset(left["taken"])
        self.run.complete(instance, left["result"], dumps(left["result"]))

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
                if decision.timeout is not None:
                    self.watch(instance, decision.timeout, "timeout")
                self.run.scopes.spawn(instance, decision)
            case _:
                assert_never(decision)

    def _take(self, instance: Instance, decision: Branch) -> None:
        refused = None if decision.gather else self._refused(instance, decision.result)
        if refused is not None:
            self.failed(instance, refused)
            return
        if decision.timeout is not None:
            self.watch(instance, decision.timeout, "timeout")
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
            self.emit(*outcome.emits)

    def emit(self, name: str, payload: Any) -> None:
        """Let an event be heard in this process."""
        self._loop.emit(name, payload)

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
        instance.error = message
        instance.wake_at = moment
        instance.epoch += 1
        self.run.move(instance, TaskStatus.WAITING_FOR_TIMER)
        seconds = max(0.0, (moment - self._loop.now()).total_seconds())
        self._loop.after(seconds, partial(self._retry, instance, instance.epoch))

    def _retry(self, instance: Instance, epoch: int) -> None:
        if instance.epoch == epoch and instance.is_open:
            instance.error = None
            instance.started_at = None
            self.run.queue(instance)

    def _note_attempt(self, instance: Instance, status: TaskStatus, error: str | None) -> None:
        if self._runner.works(instance.node):
            self.recorder.attempt(instance, status, self._loop.now(), error)

    def watch_attempt(self, instance: Instance) -> None:
        """Hold the current attempt to the task's timeout."""
        policy = instance.node.task.attempt_timeout
        if policy is not None:
            self.watch(instance, policy.timeout.total_seconds(), "timeout_policy")

    def watch_branches(self, instance: Instance) -> None:
        """Hold the branches of a gathering operator to its timeout."""
        seconds = getattr(instance.node.task, "timeout", None)
        if seconds is not None:
            self.watch(instance, seconds, "timeout")

    def watch(self, instance: Instance, seconds: float, what: str) -> None:
        """Fail the current attempt if it is still going on ``seconds`` after it began."""
        now = self._loop.now()
        left = max(0.0, seconds - (now - (instance.started_at or now)).total_seconds())
        self._loop.after(left, partial(self._expired, instance, instance.epoch, f"{what}: {seconds:g} s"))

    def _expired(self, instance: Instance, epoch: int, limit: str) -> None:
        if instance.epoch != epoch or not instance.is_open:
            return
        message = f"timed out ({limit})"
        if instance.stop is not None:
            policy = instance.node.task.attempt_timeout
            self._loop.give_up(instance, message, kill=policy is None or policy.kill_on_timeout)
        self.failed(instance, Failure(f"Task '{instance.path}' {message}"))

    def sleep(self, instance: Instance, moment: datetime) -> None:
        """Complete the task at ``moment``; a moment in the past is now."""
        seconds = (moment - self._loop.now()).total_seconds()
        if seconds <= 0:
            self._wake(instance, instance.epoch)
            return
        instance.wake_at = moment
        self.run.move(instance, TaskStatus.WAITING_FOR_TIMER)
        self._loop.after(seconds, partial(self._wake, instance, instance.epoch))

    def _wake(self, instance: Instance, epoch: int) -> None:
        if instance.epoch == epoch and instance.is_open:
            self._complete_with(instance, None)

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
        return self._runner.refused(instance.node, self._view(instance), value)

    def _await(self, instance: Instance, decision: AwaitEvent) -> None:
        if decision.approval is not None:
            self.failed(instance, Failure(HUMAN_TASKS, retryable=False))
            return
        epoch = instance.epoch
        self._loop.await_event(decision.name, partial(self._received, instance, epoch))
        if not instance.is_open:
            return
        instance.wake_at = decision.deadline
        self.run.move(instance, TaskStatus.WAITING_FOR_EVENT)
        if decision.deadline is not None:
            seconds = max(0.0, (decision.deadline - self._loop.now()).total_seconds())
            message = f"No event '{decision.name}' came within {instance.node.task.timeout_seconds:g} s"
            self._loop.after(seconds, partial(self._missed, instance, epoch, message))

    def _received(self, instance: Instance, epoch: int, payload: Any) -> None:
        if instance.epoch == epoch and instance.is_open:
            self._complete_with(instance, payload)

    def _missed(self, instance: Instance, epoch: int, message: str) -> None:
        if instance.epoch == epoch and instance.is_open:
            self.failed(instance, Failure(message))
