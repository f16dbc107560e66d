"""The one step path of both modes: ask a task's handler, and turn whatever happens into an outcome.

Guards, circuit breaker and executor are applied here; the mode applies what needs time (retry, timeout, waiting) and
the store. This module is the home of the broad ``except`` around user work: a tool may raise anything.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from highway_core.config import Settings
from highway_core.engine.breakers import Breakers, ProcessBreakers, record
from highway_core.engine.context import ChildOutcome, TaskContext
from highway_core.engine.data import DataView
from highway_core.engine.decisions import Decision, Finish
from highway_core.engine.executors.base import BaseExecutor, ExecutionContext, Work
from highway_core.engine.graph import Node
from highway_core.engine.guards import check_guard
from highway_core.engine.models import BaseOperatorModel, CallOperatorModel
from highway_core.engine.operator_handlers import HANDLERS, WORKING
from highway_core.engine.policies import DataGuard, RetryPolicy
from highway_core.engine.resource_manager import ContainerResourceManager
from highway_core.errors import (
    ConnectionLostError,
    ExpressionError,
    GuardError,
    PermanentTaskError,
    ResultError,
    TaskError,
    TaskStoppedError,
    ToolNotFoundError,
)
from highway_core.tools.bulkhead import BulkheadManager
from highway_core.tools.context import ToolContext
from highway_core.tools.registry import ToolRegistry
from highway_core.utils.json_values import clean_text, to_storable

_PERMANENT = (ExpressionError, PermanentTaskError, ResultError, TaskStoppedError, ToolNotFoundError)
"""What no retry mends. A result that cannot be stored is among them: the tool has already acted."""

_SPEAK_FOR_THEMSELVES = (TaskError, RuntimeError, ExpressionError)


@dataclass(frozen=True, slots=True)
class Completed:
    """The task is completed. ``text`` is the result as JSON, already checked."""

    value: Any
    text: str
    emits: tuple[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """The attempt failed with ``message``."""

    message: str
    retryable: bool = True


Outcome = Decision | Completed | Failure


@dataclass(slots=True)
class Ask:
    """One question to a task: what its handler gets, and how it may be carried out."""

    node: Node
    path: str
    attempt: int
    view: DataView
    now: datetime
    tool: ToolContext
    fence: int = 0
    """Under which epoch it was asked: an answer to an older one is refused by the mode."""
    progress: Mapping[str, Any] | None = None
    children: Sequence[ChildOutcome] | None = None
    added: Sequence[Any] = ()
    interruptible: bool = False
    """True on the main thread, where KeyboardInterrupt is the user's and not the tool's."""


Executors = Callable[[str], BaseExecutor]
"""Runtime → its executor, made when it is first asked for."""


class TaskRunner:
    """Carries out attempts; thread-safe, and shared by all runs of a process."""

    def __init__(
        self,
        settings: Settings,
        registry: ToolRegistry,
        bulkheads: BulkheadManager,
        executors: Executors,
        breakers: Breakers | None = None,
    ) -> None:
        self._settings = settings
        self.registry = registry
        self._bulkheads = bulkheads
        self._executors = executors
        self._resources: dict[str, ContainerResourceManager] = {}
        self._breakers = breakers or ProcessBreakers()
        self._lock = threading.Lock()
        self._transactional: dict[str, bool] = {}

    def works(self, node: Node) -> bool:
        """True if the task calls tools, which may take time."""
        return node.task.operator_type in WORKING

    def is_transactional(self, node: Node) -> bool:
        """True if the task's tool belongs on the deciding thread, into the transaction that completes it."""
        task = node.task
        if not isinstance(task, CallOperatorModel) or task.function is None or task.runtime != "python":
            return False
        known = self._transactional.get(task.function)
        if known is None:
            try:
                known = self.registry.resolve(task.function).transactional
            except ToolNotFoundError:
                known = False
            self._transactional[task.function] = known
        return known

    def run(self, ask: Ask) -> Outcome:
        """Ask the handler. Never raises, but for KeyboardInterrupt where the ask is interruptible, and
        ConnectionLostError where a result that the task refers to cannot be read now."""
        task = ask.node.task
        try:
            first = ask.progress is None and ask.children is None
            if first and task.preconditions:
                _check(task.preconditions, ask.view, "Precondition")
            decision = HANDLERS[task.operator_type](task, self._context(ask))
            return self._completed(ask, decision) if isinstance(decision, Finish) else decision
        except ConnectionLostError:  # not the tool's, which are TaskErrors by now
            raise
        except BaseException as error:  # user work may raise anything
            if ask.interruptible and isinstance(error, KeyboardInterrupt):
                raise
            return failure_of(error)

    def _context(self, ask: Ask) -> TaskContext:
        return TaskContext(
            node=ask.node,
            path=ask.path,
            attempt=ask.attempt,
            view=ask.view,
            now=ask.now,
            execute=lambda work: self._execute(ask, work),
            progress=ask.progress,
            children=ask.children,
            added=ask.added,
        )

    def _execute(self, ask: Ask, work: Work) -> Any:
        policy = ask.node.task.circuit_breaker_policy
        breaker = None if policy is None else self._breakers.of(ask.node.task_id, policy, ask.tool, ask.fence)
        if breaker is not None and not breaker.is_request_allowed():
            raise TaskError(f"The circuit breaker of '{ask.node.task_id}' is open: it failed too often.")
        try:
            result = self._executors(work.runtime).execute(work, self._execution(ask.tool))
        except Exception as error:
            if breaker is not None and policy is not None:
                record(breaker, policy, error)
            if isinstance(error, (TaskError, ExpressionError)):
                raise
            raise TaskError(error_text(error)) from error
        if breaker is not None:
            breaker.record_success()
        return result

    def _execution(self, tool: ToolContext) -> ExecutionContext:
        resources = self._resources.get(tool.run_id)
        if resources is None:
            with self._lock:
                resources = self._resources.setdefault(
                    tool.run_id, ContainerResourceManager(tool.run_id, self._settings)
                )
        return ExecutionContext(self.registry, self._bulkheads, resources, self._settings, tool)

    def unreleased(self) -> list[str]:
        """The runs whose tasks were carried out here and that nobody has said to be over."""
        with self._lock:
            return list(self._resources)

    def release(self, run_id: str) -> None:
        """The run is over: let go of what its containers left."""
        resources = self._resources.pop(run_id, None)
        if resources is not None:
            resources.cleanup_all()

    def _completed(self, ask: Ask, decision: Finish) -> Completed:
        value, text = to_storable(decision.result, max_bytes=self._settings.max_result_bytes)
        _check_result(ask.node.task, ask.view, value)
        return Completed(value, text, decision.emits)

    def refused(self, node: Node, view: DataView, value: Any) -> Failure | None:
        """The failure of a task that completes with ``value`` without being asked again: a wait, an event, an arm."""
        try:
            _check_result(node.task, view, value)
        except (GuardError, ExpressionError) as error:
            return failure_of(error)
        return None


def retry_delay(task: BaseOperatorModel, default: RetryPolicy | None, attempt: int) -> float | None:
    """Seconds until the attempt after ``attempt`` (counted from 1), or None if that was the last.

    The workflow's default policy is for operators that do work; a task's own policy is for any operator.
    """
    policy = task.retry_policy or (default if task.operator_type in WORKING else None)
    if policy is None or attempt > policy.max_retries:
        return None
    try:
        seconds = policy.delay.total_seconds() * policy.backoff_factor ** (attempt - 1)
    except OverflowError:
        seconds = _LONGEST_DELAY
    longest = policy.max_delay.total_seconds() if policy.max_delay is not None else _LONGEST_DELAY
    return min(seconds, longest)


_LONGEST_DELAY = 365 * 86_400.0


def failure_of(error: BaseException) -> Failure:
    """What a task's attempt that raised ``error`` leaves."""
    return Failure(clean_text(error_text(error)), not isinstance(error, _PERMANENT))


def error_text(error: BaseException) -> str:
    """The error in its own words; its type too where the words do not stand alone (``KeyError: 'id'``)."""
    text = str(error)
    if text and (isinstance(error, _SPEAK_FOR_THEMSELVES) or type(error) is Exception):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _check_result(task: BaseOperatorModel, view: DataView, value: Any) -> None:
    """Raise GuardError unless the postconditions hold for ``value``."""
    if not task.postconditions:
        return
    names = {**view.extras, "result": value, "output": value, task.task_id: value}
    if task.result_key:
        names[task.result_key] = value
    _check(task.postconditions, dataclasses.replace(view, extras=names), "Postcondition")


def _check(guards: Sequence[DataGuard], view: DataView, kind: str) -> None:
    for guard in guards:
        wrong = check_guard(guard, view)
        if wrong is not None:
            raise GuardError(f"{kind} failed: {wrong}")
