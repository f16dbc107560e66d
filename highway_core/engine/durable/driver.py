"""Drives the images of one process: turns what transitions and steps ask for into rows of the next commit.

This is to DURABLE mode what the orchestrator is to LOCAL mode, without its loop: inputs come from the queue
(``inputs``), and :class:`~.desk.Desk` commits what they lead to. A timer is a row, an event that is waited for is a
row, a child run is a row; nothing is held in memory that a killed process would miss.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

from highway_core.engine.context import ChildOutcome
from highway_core.engine.decisions import AwaitEvent, ChildRun
from highway_core.engine.durable.changes import queue_row
from highway_core.engine.durable.image import Image, ImageDriver
from highway_core.engine.durable.keys import DurableKeys
from highway_core.engine.durable.services import DurableServices, Hands, Job
from highway_core.engine.durable.timeouts import TIMEOUTS, note_timeout
from highway_core.engine.graph import CompiledWorkflow
from highway_core.engine.local_runs import MAX_RUN_DEPTH
from highway_core.engine.run import Run
from highway_core.engine.run_state import Instance
from highway_core.engine.steps import Steps
from highway_core.engine.task_runner import Ask
from highway_core.errors import DocumentError, RunError
from highway_core.lifecycle import ApprovalStatus, QueueKind, RunStatus, TaskStatus
from highway_core.persistence.limit_store import Limited
from highway_core.persistence.transition_store import FENCES, TransitionStore
from highway_core.utils.approval_token import new_approval
from highway_core.utils.json_values import dumps

logger = logging.getLogger("HighwayWorker")

_QUICK = 500
"""How many decisions that need no thread a run may take in one commit; more are queued."""
_IN_A_ROW = 20
"""How many tasks of a run may be taken over one after the other while others wait."""

_LONGEST = 2**31 - 1
"""Seconds: more than a column holds."""

_READY = frozenset({TaskStatus.QUEUED, TaskStatus.WAITING_FOR_CHILDREN})
"""What an instance is that is to be started, or asked again."""


class Driver(ImageDriver):
    """Only the deciding thread calls it."""

    def __init__(
        self, store: TransitionStore, services: DurableServices, hands: Hands, clock: Callable[[], datetime]
    ) -> None:
        self.services = services
        self.durable = services
        self.store = store
        self.images: dict[str, Image] = {}
        self.claiming: Instance | None = None
        """The instance that is being started because its work was claimed from the queue."""
        self.enqueued = 0
        """Rows that others may claim, made since somebody asked."""
        self.soonest = math.inf
        """The earliest moment (seconds since 1970) that was asked for since somebody asked."""
        self.asked: list[str] = []
        """Approvals that have been committed since somebody asked: people are to be told."""
        self.late_answers = 0
        self.contended: dict[str, int] = {}
        """Runs whose image was thrown away because somebody else had moved them on."""
        self.ended: list[str] = []
        """Runs that have ended since somebody asked."""
        self.threads = 10
        """How many attempts all workers together can carry out at once, as far as is known."""
        self.limited = Limited()
        """What may only be begun by a claim."""
        self._hands = hands
        self._clock = clock
        self.places = 0
        """How many tasks this process may still take over in this commit."""
        self.takes_over = True
        """False while everything that becomes ready is to be queued."""
        self._timeouts: dict[Instance, datetime] = {}

    def image_of(self, run: Run) -> Image:
        """The image whose run that is."""
        return self.images[run.run_id]

    def begin_turn(self, claimed: int) -> None:
        """A round of inputs begins, ``claimed`` of which bring work of their own."""
        self.places = self._hands.free() - claimed if self.takes_over else 0

    def make_keys(self, image: Image) -> None:
        """Give the steps of a new image their idempotency keys."""
        image.steps.keys = DurableKeys(image, self.store)

    def settle(self, image: Image) -> None:
        """Start what the last transitions made ready, until nothing is left that needs no thread."""
        quick = _QUICK
        while image.later or image.ready or self._more(image):
            if image.later:
                image.later.popleft()()
                continue
            if not image.ready:
                self._next(image)
                continue
            instance = image.ready.popleft()
            if instance.status not in _READY or image.run.is_over:
                continue
            if image.run.status is RunStatus.PAUSED:
                self.enqueue(image, instance)
            elif image.steps.asks.works(instance.node) and instance.status is TaskStatus.QUEUED:
                if instance.queued:  # its row says that it waits: nobody would find it in a backlog that is lost
                    self._place(image, instance)
                else:
                    image.backlog.append(instance)
            elif quick:
                quick -= 1
                image.steps.start(instance)
            else:
                self.enqueue(image, instance)

    def _more(self, image: Image) -> bool:
        if not image.backlog or image.run.is_over:
            return False
        return len(image.in_queue) < min(self.durable.run_window, image.pace.window(self.threads))

    def _next(self, image: Image) -> None:
        """Place the next task of the backlog."""
        instance = image.backlog.popleft()
        if instance.stored and instance in image.in_queue:
            return
        if instance.status is TaskStatus.QUEUED and not instance.scope.dead:
            self._place(image, instance)

    def _place(self, image: Image, instance: Instance) -> None:
        """Queue the task, or take it over."""
        if self._may_take_over(image):
            self.places -= 1
            image.taken_over += 1
            image.steps.start(instance)
        else:
            image.taken_over = 0
            self.enqueue(image, instance)

    def _may_take_over(self, image: Image) -> bool:
        """True if the task may be carried out here at once, without a turn in the queue."""
        if self.places <= 0 or image.queue not in self._hands.queues:
            return False
        if (image.queue, image.run.compiled.model.name) in self.limited:
            return False
        return not self._hands.crowded or image.taken_over < _IN_A_ROW

    def enqueue(self, image: Image, instance: Instance) -> None:
        """Have the instance claimed, by whoever is free first."""
        paused = image.run.status is RunStatus.PAUSED
        status = RunStatus.PAUSED.value if paused else TaskStatus.QUEUED.value
        self._put(image, instance.path, QueueKind.WORK, status, f=instance.epoch, a=instance.attempt)
        instance.queued = True
        self.enqueued += 1
        if image.steps.asks.works(instance.node):
            image.in_queue.add(instance)
        if instance.status is TaskStatus.QUEUED:
            image.changes.mark(instance, _path(instance.led_by))

    def _put(self, image: Image, path: str, kind: QueueKind, status: str, **more: Any) -> None:
        key = (path, kind.value)
        known = image.changes.queue.get(key, {})
        row = queue_row(image.run_id, path, kind, status, q=image.queue, p=image.priority, **more)
        if kind is not QueueKind.WORK:
            row["f"] = FENCES * image.version  # who still holds the row as it was before must not use this one up
        image.changes.queue[key] = {**known, **row}
        if "du" in more:
            self.soonest = min(self.soonest, more["du"])

    def start_claimed(self, image: Image, instance: Instance) -> None:
        """Start what was claimed."""
        self.claiming = instance
        try:
            image.steps.start(instance)
        finally:
            self.claiming = None

    def hold_start(self, image: Image) -> None:
        """The run was paused before it had begun."""
        self._put(image, "", QueueKind.START, RunStatus.PAUSED.value)

    def deadline(self, image: Image, moment: float) -> None:
        """Have the run ended at ``moment`` (seconds since 1970) if it is not over by then."""
        self._put(image, "", QueueKind.DEADLINE, TaskStatus.WAITING_FOR_TIMER.value, du=moment)

    # What transitions ask of whoever drives the run.

    def now(self) -> datetime:
        return self._clock()

    def make_ready(self, run: Run, instance: Instance) -> None:
        self.image_of(run).ready.append(instance)

    def changed(self, run: Run, instance: Instance) -> None:
        image = self.image_of(run)
        changes = image.changes
        changes.mark(instance, _path(instance.led_by), instance.error)
        in_queue = instance in image.in_queue
        image.in_queue.discard(instance)
        self._timeouts.pop(instance, None)  # of an attempt that needed no thread after all
        if not instance.is_open:
            for key in [key for key in changes.queue if key[0] == instance.path]:
                del changes.queue[key]
            if instance.queued:
                changes.dropped.add(instance.path)
            image.steps.ended(instance)
        elif in_queue and not changes.consumes(instance.path):
            changes.dropped.add(instance.path)
        elif instance.queued and instance.status is TaskStatus.WAITING_FOR_TIMER:
            changes.dropped.add(instance.path)  # what was asked for before is asked for no longer
        if instance.status is TaskStatus.WAITING_FOR_TIMER and instance.node.body is not None:
            changes.add("detach", prefix=f"{instance.path}[")

    def start_child(self, run: Run, instance: Instance, child: ChildRun) -> None:
        image = self.image_of(run)
        run_id = child_run_id(run.run_id, instance, child.branch)
        try:
            if run.depth >= MAX_RUN_DEPTH:
                name = child.workflow_name
                raise RunError(f"Runs nest more than {MAX_RUN_DEPTH} deep; does '{name}' start itself?")
            workflow = self.durable.definitions.by_name(child.workflow_name, child.definition_id, self.store)
        except (RunError, DocumentError) as error:
            outcome = self.refuse_child(instance, child.branch, run_id, str(error))
            image.later.append(partial(run.scopes.child_over, instance, outcome))
            return
        row = start_row(run_id, workflow, child.inputs, queue=image.queue, priority=image.priority)
        row |= {"depth": run.depth + 1, "pr": run.run_id, "pt": instance.path, "pb": child.branch}
        image.changes.add("children", by=run.run_id, **row)
        image.children.setdefault(instance.path, set()).add(run_id)
        self.enqueued += 1

    @staticmethod
    def refuse_child(instance: Instance, branch: str, run_id: str, error: str) -> ChildOutcome:
        """Remember that a child run could not be started, and why; what its task is told of it."""
        progress = dict(instance.progress or {})
        refused = {"branch": branch, "error": error, "run_id": run_id}
        instance.progress = {**progress, "refused": [*progress.get("refused", ()), refused]}
        return ChildOutcome(branch, TaskStatus.FAILED, {}, error, run_id=run_id)

    def cancel_children(self, run: Run, instance: Instance) -> None:
        image = self.image_of(run)
        for child in image.children.pop(instance.path, ()):
            reason = f"Cancelled with its parent, run '{run.run_id}'."
            self.message(image, child, "", QueueKind.CANCEL.value, reason)

    def message(self, image: Image, run_id: str, path: str, kind: str, payload: str) -> None:
        """Tell another run, in this commit."""
        image.changes.rare.setdefault("messages", []).append(
            {"by": image.run_id, "r": run_id, "t": path, "k": kind, "pl": payload}
        )
        self.enqueued += 1

    def over(self, run: Run) -> None:
        image = self.image_of(run)
        image.changes.status = run.status
        image.changes.note(f"run.{run.status.value}", detail=run.error)
        image.changes.add("ended")
        image.ready.clear()
        image.backlog.clear()
        image.in_queue.clear()
        if image.parent is not None:
            parent, path, branch = image.parent
            self.message(image, parent, path, f"{QueueKind.CHILD.value}:{branch}", "")

    def stop(self, run: Run, instance: Instance, reason: str) -> None:
        self.give_up(run, instance, reason, kill=True)

    # What steps ask.

    def give_up(self, run: Run, instance: Instance, reason: str, *, kill: bool) -> None:
        scope, instance.stop = instance.stop, None
        if scope is not None:
            image = self.image_of(run)
            stop = partial(self._hands.stop, image.run_id, instance.path, instance.epoch, reason, kill=kill)
            image.launches.append(stop)

    def carry_out(self, steps: Steps, instance: Instance, ask: Ask) -> None:
        image = self.image_of(steps.run)
        claimed = self.claiming is instance
        job = Job(image.run_id, instance.path, ask, self._timeouts.pop(instance, None), claimed)
        if not claimed:
            status = TaskStatus.RUNNING.value
            self._put(image, instance.path, QueueKind.WORK, status, f=instance.epoch, a=instance.attempt)
            instance.queued = True
            image.changes.mark(instance, _path(instance.led_by))
        image.in_queue.add(instance)
        image.launches.append(partial(self._hands.carry_out, job))

    def timer(self, steps: Steps, instance: Instance, kind: QueueKind, moment: datetime) -> None:
        image = self.image_of(steps.run)
        if (
            kind is QueueKind.TIMEOUT
            and instance.status is TaskStatus.RUNNING
            and image.steps.asks.works(instance.node)
        ):
            self._timeouts[instance] = moment  # whoever carries it out watches it
            return
        if kind in TIMEOUTS:
            note_timeout(instance, kind, moment.timestamp())
        waits_for_answer = kind in {QueueKind.EVENT, QueueKind.APPROVAL}
        status = TaskStatus.WAITING_FOR_EVENT if waits_for_answer else TaskStatus.WAITING_FOR_TIMER
        self._put(image, instance.path, kind, status.value, du=moment.timestamp(), pl=str(instance.epoch))
        instance.queued = True

    def await_event(self, steps: Steps, instance: Instance, name: str) -> None:
        image = self.image_of(steps.run)
        status = TaskStatus.WAITING_FOR_EVENT.value
        self._put(image, instance.path, QueueKind.EVENT, status, ev=name, pl=str(instance.epoch))
        image.changes.add("names", name=name)
        instance.queued = True
        instance.progress = {"event": name}  # that the sweep can put the row back
        self.enqueued += 1  # the commit makes the row claimable if there is such an event

    def ask_person(self, steps: Steps, instance: Instance, decision: AwaitEvent) -> None:
        image = self.image_of(steps.run)
        approval = new_approval(self.durable.secret_key)
        asked = decision.approval or {}
        image.changes.add("approvals_over", t=instance.path, st=ApprovalStatus.CANCELLED.value)
        image.changes.add(
            "approvals",
            id=approval.approval_id,
            t=instance.path,
            f=instance.epoch,
            prompt=asked["prompt"],
            assignee=asked["assignee"],
            choices=dumps(asked["choices"]),
            hash=approval.token_hash,
            expires=None if decision.deadline is None else decision.deadline.timestamp(),
        )
        image.changes.tokens[instance.path] = approval.token_hash
        image.changes.queue.pop((instance.path, QueueKind.TIMEOUT.value), None)  # it is the decision's from now on
        status = TaskStatus.WAITING_FOR_EVENT.value
        self._put(image, instance.path, QueueKind.APPROVAL, status, pl=str(instance.epoch))
        instance.queued = True
        image.launches.append(partial(self.asked.append, approval.approval_id))

    def emit(self, run: Run, instance: Instance, name: str, payload: Any) -> None:
        changes = self.image_of(run).changes
        changes.add("events", t=instance.path, name=name, payload=dumps(payload))
        changes.add("names", name=name)
        self.enqueued += 1


def child_run_id(run_id: str, instance: Instance, branch: str) -> str:
    """The id of a child run: no other attempt of the task, or of a loop around it, has the same."""
    attempts: list[int] = []
    one: Instance | None = instance
    while one is not None:
        attempts.insert(0, one.attempt)
        one = one.scope.owner
    while attempts and attempts[0] <= 1:
        attempts.pop(0)
    mark = ".".join(map(str, attempts))
    return f"{run_id}/{instance.path}/{branch}" + (f"#{mark}" if mark else "")


def start_row(
    run_id: str, workflow: CompiledWorkflow, inputs: Any, *, queue: str = "default", priority: int = 0
) -> dict[str, Any]:
    """A run to be created, as ``highway_start`` takes it."""
    deadline = workflow.model.deadline
    return {
        "id": run_id,
        "name": workflow.model.name,
        "hash": workflow.definition_hash,
        "vars": dumps({**workflow.model.variables, **inputs}),
        "inp": dumps(dict(inputs)),
        "start": workflow.model.start_task,
        "queue": queue,
        "prio": priority,
        "tags": dumps(workflow.model.tags) if workflow.model.tags else None,
        "dl": None if deadline is None else min(math.ceil(deadline), _LONGEST),
    }


def _path(instance: Instance | None) -> str | None:
    return None if instance is None else instance.path
