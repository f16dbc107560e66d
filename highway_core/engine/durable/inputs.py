"""What moves a durable run on: answers of attempts, claims from the queue, deeds of an operator.

An input is applied to an image, and may be applied again to a newer one if the commit did not go through; so it names
its task by path, and it is refused by what has become of the task: a fence that has grown, a task that has ended.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, assert_never

from highway_core.engine.context import ChildOutcome
from highway_core.engine.durable.changes import queue_row
from highway_core.engine.durable.driver import Driver, child_run_id
from highway_core.engine.durable.image import Image
from highway_core.engine.durable.services import Job
from highway_core.engine.run_state import Instance
from highway_core.engine.task_runner import Failure, Outcome
from highway_core.lifecycle import (
    ApprovalStatus,
    QueueKind,
    RunStatus,
    TaskStatus,
    check_task_move,
)
from highway_core.persistence.durable_connection import moment_of
from highway_core.persistence.transition_store import Claim, Lease, Row
from highway_core.utils.json_values import loads

LATE_ANSWERS = "late_answers_refused"
"""The counter of answers that came after their lease was lost."""


class Input(Protocol):
    """Something that happened, for one run."""

    @property
    def needs_lock(self) -> bool:
        """True if it must be looked at under the run's lock, because what it reads is not part of the run's version."""
        ...

    @property
    def lease(self) -> Lease | None:
        """What it has of the queue, which is used up with it."""
        ...

    def apply(self, driver: Driver, image: Image) -> None:
        """Let the run take note of it."""
        ...

    def spoiled(self, reason: str) -> Input | None:
        """What to do instead if it cannot be stored; None: nothing can be done, and nothing is."""
        ...


@dataclass(frozen=True, slots=True)
class Answer:
    """An attempt is over."""

    job: Job
    outcome: Outcome
    seconds: float = 0.0
    """How long it was carried out."""

    @property
    def needs_lock(self) -> bool:
        return False

    @property
    def lease(self) -> Lease:
        return (self.job.run_id, self.job.path, QueueKind.WORK.value, self.job.ask.fence)

    def apply(self, driver: Driver, image: Image) -> None:
        job, fence = self.job, self.job.ask.fence
        instance = image.instance(job.path)
        if instance is None or instance.epoch != fence or instance.status is not TaskStatus.RUNNING:
            driver.late_answers += 1
            return
        changes = image.changes
        changes.consumed.append((job.path, QueueKind.WORK.value, fence))
        image.in_queue.discard(instance)
        image.pace.took(self.seconds)
        if job.claimed:  # nothing was committed when it was claimed
            changes.note(f"task.{TaskStatus.RUNNING.value}", job.path, instance.started_at)
            changes.log[-1]["a"] = instance.attempt
        image.steps.answered(instance, job.ask, self.outcome)

    def spoiled(self, reason: str) -> Input:
        return replace(self, outcome=Failure(f"The result cannot be stored: {reason}", retryable=False))


@dataclass(frozen=True, slots=True)
class TimedOut:
    """An attempt that this process carries out has outlived its timeout."""

    path: str
    fence: int

    @property
    def needs_lock(self) -> bool:
        return False

    @property
    def lease(self) -> None:
        return None

    def apply(self, driver: Driver, image: Image) -> None:  # noqa: ARG002
        instance = image.instance(self.path)
        if instance is None or instance.epoch != self.fence or instance.status is not TaskStatus.RUNNING:
            return
        # It counts only as long as the lease is ours.
        image.changes.consumed.append((self.path, QueueKind.WORK.value, self.fence))
        image.in_queue.discard(instance)
        image.steps.due(instance, QueueKind.TIMEOUT, self.fence)

    def spoiled(self, reason: str) -> None:  # noqa: ARG002
        return None


@dataclass(frozen=True, slots=True)
class Work:
    """The work of a task was claimed."""

    claim: Claim

    @property
    def needs_lock(self) -> bool:
        return False

    @property
    def lease(self) -> Lease:
        return self.claim.lease

    def apply(self, driver: Driver, image: Image) -> None:
        claim = self.claim
        instance = image.instance(claim.path)
        if instance is None or not instance.is_open or image.run.is_over:
            image.changes.consumed.append((claim.path, claim.kind, claim.fence))
        elif image.run.status is RunStatus.PAUSED:
            self._hold(image, instance)
        elif instance.status is TaskStatus.WAITING_FOR_CHILDREN:
            image.changes.consumed.append((claim.path, claim.kind, claim.fence))
            image.steps.start(instance)
        elif instance.status not in {TaskStatus.QUEUED, TaskStatus.RUNNING}:
            image.changes.consumed.append((claim.path, claim.kind, claim.fence))
        elif self._is_stale(instance):
            return
        elif claim.lease_losses >= driver.services.settings.max_lease_losses:
            self._poison(image, instance)
        else:
            self._start(driver, image, instance)

    def _is_stale(self, instance: Instance) -> bool:
        """True if the claim was taken from us, or its attempt given up, before we came to it."""
        fence = self.claim.fence
        return fence < instance.epoch or (fence == instance.epoch and instance.status is not TaskStatus.RUNNING)

    def _start(self, driver: Driver, image: Image, instance: Instance) -> None:
        if instance.status is TaskStatus.RUNNING:  # whoever had it is gone
            check_task_move(instance.path, instance.status, TaskStatus.QUEUED)
            instance.status = TaskStatus.QUEUED
            instance.started_at = None
        if instance.stop is not None:  # it was this very process, which lost its lease
            driver.stop(image.run, instance, "its lease was lost")
        instance.attempt = self.claim.attempt - 1
        instance.epoch = self.claim.fence - 1
        instance.stored = True
        used_up = (self.claim.path, self.claim.kind, self.claim.fence)
        works = image.steps.asks.works(instance.node)
        if not works:
            image.changes.consumed.append(used_up)
        driver.start_claimed(image, instance)
        if works and instance.status is not TaskStatus.RUNNING:  # no thread was needed: a key had its result
            image.changes.consumed.append(used_up)
        elif works and instance.key is not None:
            image.changes.held.append(used_up)  # that it holds a key is written now, not with its answer

    def _hold(self, image: Image, instance: Instance) -> None:
        claim = self.claim
        row = queue_row(image.run_id, claim.path, claim.kind, RunStatus.PAUSED.value, q=image.queue, p=image.priority)
        row |= {"f": claim.fence, "a": claim.attempt - 1}
        image.changes.queue[(claim.path, claim.kind)] = row
        instance.epoch = claim.fence
        if instance.status is TaskStatus.RUNNING:
            instance.status = TaskStatus.QUEUED
        image.changes.consumed.append((claim.path, claim.kind, claim.fence))
        image.changes.mark(instance)

    def _poison(self, image: Image, instance: Instance) -> None:
        claim = self.claim
        image.changes.consumed.append((claim.path, claim.kind, claim.fence))
        if instance.status is TaskStatus.QUEUED:
            instance.status = TaskStatus.RUNNING
        instance.attempt, instance.epoch = claim.attempt, claim.fence
        message = (
            f"The worker was lost {claim.lease_losses} times while it carried this task out; it is not tried again."
        )
        image.steps.failed(instance, Failure(message, retryable=False))

    def spoiled(self, reason: str) -> None:  # noqa: ARG002
        return None


@dataclass(frozen=True, slots=True)
class Message:
    """A message to the run's state was claimed."""

    claim: Claim

    @property
    def needs_lock(self) -> bool:
        return self.claim.kind == QueueKind.APPROVAL

    @property
    def lease(self) -> Lease:
        return self.claim.lease

    def apply(self, driver: Driver, image: Image) -> None:
        claim = self.claim
        image.changes.consumed.append((claim.path, claim.kind, claim.fence))
        if image.run.is_over:
            return
        if claim.lease_losses >= driver.services.settings.max_lease_losses:
            lost = f"{claim.lease_losses} workers were lost over the message '{claim.kind}' to '{claim.path}'."
            image.run.terminate(RunStatus.FAILED, lost)
            return
        kind = QueueKind(claim.kind.partition(":")[0])
        if not claim.path:
            _to_run(driver, image, kind, claim)
            return
        instance = image.instance(claim.path)
        if instance is not None and instance.is_open:
            _to_task(driver, image, instance, kind, claim)

    def spoiled(self, reason: str) -> None:  # noqa: ARG002
        return None


def _to_run(driver: Driver, image: Image, kind: QueueKind, claim: Claim) -> None:
    run = image.run
    match kind:
        case QueueKind.START:
            begin(driver, image)
        case QueueKind.CANCEL:
            run.terminate(RunStatus.CANCELLED, claim.payload or "Cancelled.")
        case QueueKind.DEADLINE:
            model = run.compiled.model
            status = RunStatus.FAILED if model.deadline_action == "fail" else RunStatus.CANCELLED
            run.terminate(status, f"The deadline of {model.deadline or 0:g} s has passed.")
        case _:
            raise AssertionError(f"{kind} is no message to a run")


def begin(driver: Driver, image: Image) -> None:
    """The first decision about a run: its deadline is set, its first tasks are made ready."""
    run = image.run
    if run.status is RunStatus.PAUSED:
        driver.hold_start(image)
        return
    deadline = run.compiled.model.deadline
    if deadline is not None:
        driver.deadline(image, run.started_at.timestamp() + deadline)
    if run.status is RunStatus.PENDING:
        run.begin()
    else:  # it was paused before it began, or reopened by somebody who died over it
        image.replay.decide_all()
    image.changes.status = run.status
    image.changes.note(f"run.{run.status.value}")


def _to_task(driver: Driver, image: Image, instance: Instance, kind: QueueKind, claim: Claim) -> None:
    match kind:
        case QueueKind.WAKE | QueueKind.RETRY | QueueKind.KEY | QueueKind.TIMEOUT | QueueKind.BRANCH_TIMEOUT:
            image.steps.due(instance, kind, int(claim.payload or 0))
        case QueueKind.EVENT:
            epoch = int(claim.payload or 0)
            if claim.event is None:
                image.steps.due(instance, kind, epoch)
            else:
                image.steps.received(instance, epoch, loads(claim.event))
        case QueueKind.APPROVAL:
            _approval(driver, image, instance, int(claim.payload or 0))
        case QueueKind.CHILD:
            _refuse_child(driver, image, instance, claim)
            _child_over(driver, image, instance)
        case QueueKind.ITEMS:
            instance.added.extend(json.loads(claim.payload or "[]"))
            image.changes.touch(instance)
        case QueueKind.WORK | QueueKind.START | QueueKind.CANCEL | QueueKind.DEADLINE:
            raise AssertionError(f"{kind} is no message to a task")
        case _:
            assert_never(kind)


def _approval(driver: Driver, image: Image, instance: Instance, epoch: int) -> None:
    """Somebody has decided, or nobody has in time. Both are looked at under the run's lock, which a decision holds."""
    found = driver.store.approval(image.run_id, instance.path, epoch)
    if found is not None and found["status"] == ApprovalStatus.DECIDED:
        image.steps.received(instance, epoch, _decision(found))
        return
    image.changes.add("approvals_over", t=instance.path, st=ApprovalStatus.EXPIRED.value)
    image.steps.due(instance, QueueKind.APPROVAL, epoch)


def _decision(found: Row) -> Row:
    at = moment_of(found["at"])
    return {
        "status": found["decision"],
        "reason": "HUMAN_INPUT",
        "decided_by": found["by"],
        "decided_at": None if at is None else at.isoformat(),
        "comment": found["comment"],
    }


def _refuse_child(driver: Driver, image: Image, instance: Instance, claim: Claim) -> None:
    """The message may say that there is a run with the child's id that is not this task's: none was started."""
    branch = claim.kind.partition(":")[2]
    run_id = child_run_id(image.run_id, instance, branch)
    if claim.payload == run_id and instance.status is TaskStatus.WAITING_FOR_CHILDREN:
        image.children.get(instance.path, set()).discard(run_id)
        driver.refuse_child(
            instance, branch, run_id, "not started, because another run has its id; start its parent under another id"
        )
        image.changes.touch(instance)


def _child_over(driver: Driver, image: Image, instance: Instance) -> None:
    """One of the child runs of a task is over: when all are, the task is asked again."""
    if instance.status is not TaskStatus.WAITING_FOR_CHILDREN:
        return
    before, after = f"{image.run_id}/{instance.path}/", child_run_id(image.run_id, instance, "")
    if driver.store.has_open_children(image.run_id, instance.path, before, after.removeprefix(before)):
        return
    rows = [
        row
        for row in driver.store.children(image.run_id, instance.path)
        if row["c"] == child_run_id(image.run_id, instance, row["b"])
    ]
    failed = [
        ChildOutcome(one["branch"], TaskStatus.FAILED, {}, one["error"], run_id=one["run_id"])
        for one in (instance.progress or {}).get("refused", ())
    ]
    ended = [
        ChildOutcome(row["b"], TaskStatus(row["s"]), {}, row["e"], loads(row["o"] or "null"), row["c"]) for row in rows
    ]
    instance.outcomes = [*failed, *ended]
    image.children.pop(instance.path, None)
    image.run.ask_again(instance)


@dataclass(frozen=True, slots=True)
class Operation:
    """A deed of an operator; what it raises is the operator's answer, and nothing is changed."""

    deed: Callable[[Driver, Image], None]

    @property
    def needs_lock(self) -> bool:
        return True

    @property
    def lease(self) -> None:
        return None

    def apply(self, driver: Driver, image: Image) -> None:
        self.deed(driver, image)

    def spoiled(self, reason: str) -> None:  # noqa: ARG002
        return None
