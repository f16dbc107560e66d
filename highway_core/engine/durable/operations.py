"""What users and operators do to durable runs: start, cancel, pause, let go on, try again, add items.

Everything but a start is a transition like any other, under the run's lock; it is refused with an error that names the
run and its status, or it is done when the call returns.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from highway_core.engine.durable.desk import Desk
from highway_core.engine.durable.driver import Driver, start_row
from highway_core.engine.durable.image import Image
from highway_core.engine.durable.inputs import Operation
from highway_core.engine.durable.services import DurableServices, NoHands
from highway_core.engine.graph import CompiledWorkflow
from highway_core.errors import RunConflictError, RunNotFoundError, RunStateError
from highway_core.lifecycle import RUN_REOPENABLE, QueueKind, RunStatus, TaskStatus
from highway_core.persistence.durable_connection import DurableConnection
from highway_core.persistence.transition_store import Row, TransitionStore
from highway_core.utils.clock import utc_now
from highway_core.utils.json_values import dumps

WORK = "highway_work"
"""The channel on which those who have nothing to do hear that there is something."""
TIMER = "highway_timer"
"""The channel on which Schedulers hear of a moment that comes before they would look again."""
DONE = "highway_done"
"""The channel on which the ends of runs are told."""

Deed = Callable[[Driver, Image], None]


@dataclass(frozen=True, slots=True)
class StartRequest:
    """A run to be started."""

    workflow: CompiledWorkflow
    inputs: Mapping[str, Any] = field(default_factory=dict)
    run_id: str | None = None
    """Chosen by the caller: the same id and payload is the same run, at any time."""
    idempotency_key: str | None = None
    created_by: str | None = None
    priority: int = 0
    queue: str = "default"
    schedule_id: str | None = None
    slot: datetime | None = None


@dataclass(frozen=True, slots=True)
class Started:
    """``created`` is False if the run was there already."""

    run_id: str
    created: bool
    status: RunStatus


class DurableRuns:
    """Thread-safe: every thread that calls it works over a connection of its own."""

    def __init__(self, url: str, services: DurableServices) -> None:
        self._url = url
        self._services = services
        self._idle: list[_Office] = []
        self._lock = threading.Lock()

    def start(self, request: StartRequest) -> Started:
        """Start a run; RunConflictError (with ``run_id``) if its key or id belongs to another document or inputs."""
        (started,) = self.start_many([request])
        if isinstance(started, RunConflictError):
            raise started
        return started

    def start_many(self, requests: Sequence[StartRequest]) -> list[Started | RunConflictError]:
        """Start runs in one transaction; in place of one that cannot be started stands why."""
        rows = [_row(request) for request in requests]
        definitions = self._services.definitions
        fresh = {
            one.workflow.definition_hash: one.workflow
            for one in requests
            if not definitions.is_stored(one.workflow.definition_hash)
        }
        documents = [
            {"hash": digest, "name": one.model.name, "doc": one.definition_json} for digest, one in fresh.items()
        ]
        with self._office() as office:
            answers = office.store.submit(documents, rows)
            for digest, one in fresh.items():
                definitions.remember(one)
                definitions.now_stored(digest)
            office.store.notify(WORK)
        return [_started(answers[row["id"]]) for row in rows]

    def cancel(self, run_id: str, by: str, reason: str = "") -> RunStatus:
        """End the run as cancelled, and its children. RunStateError if it is over."""

        def deed(driver: Driver, image: Image) -> None:  # noqa: ARG001
            _must_be_open(image, "cancelled")
            image.changes.note("operator.cancel", detail=by)
            image.run.terminate(RunStatus.CANCELLED, reason or f"Cancelled by {by}.")

        return self._operate(run_id, deed)

    def pause(self, run_id: str, by: str) -> RunStatus:
        """Start nothing new in the run; what is being carried out is finished. RunStateError if it is not open."""

        def deed(driver: Driver, image: Image) -> None:  # noqa: ARG001
            _must_be_open(image, "paused")
            if image.run.status is RunStatus.PAUSED:
                raise RunStateError(f"Run '{run_id}' is PAUSED already.")
            image.run.hold(paused=True)
            image.changes.status = RunStatus.PAUSED
            image.changes.note(f"run.{RunStatus.PAUSED.value}", detail=by)
            image.changes.add("hold", on=True)

        return self._operate(run_id, deed)

    def unpause(self, run_id: str, by: str) -> RunStatus:
        """Let a paused run go on. RunStateError if it is not paused."""

        def deed(driver: Driver, image: Image) -> None:
            if image.run.status is not RunStatus.PAUSED:
                raise RunStateError(f"Run '{run_id}' is {image.run.status.value}, not {RunStatus.PAUSED.value}.")
            image.run.hold(paused=False)
            image.changes.status = RunStatus.RUNNING
            image.changes.note(f"run.{RunStatus.RUNNING.value}", detail=by)
            image.changes.add("hold", on=False)
            driver.enqueued += 1

        return self._operate(run_id, deed)

    def retry(self, run_id: str, by: str) -> RunStatus:
        """Go on with a failed or cancelled run from the tasks that were not completed. RunStateError otherwise."""
        return self._operate(run_id, _go_on, lambda store: _reopen(store, run_id, by))

    def add_items(self, run_id: str, task_path: str, items: Sequence[Any], by: str) -> None:
        """Add items to a running ``foreach`` with ``dynamic: true``; RunStateError if there is none of that path."""

        def deed(driver: Driver, image: Image) -> None:  # noqa: ARG001
            instance = image.instance(task_path)
            if instance is None or not getattr(instance.node.task, "dynamic", False):
                raise RunStateError(f"Run '{run_id}' has no dynamic foreach '{task_path}'.")
            if instance.status is not TaskStatus.WAITING_FOR_CHILDREN:
                status = instance.status.value
                raise RunStateError(f"Loop '{task_path}' of run '{run_id}' is {status}: it takes no more items.")
            instance.added.extend(json.loads(dumps(list(items))))
            image.changes.touch(instance)
            image.changes.note("operator.items", task_path, detail=by)

        self._operate(run_id, deed)

    def emit(self, name: str, payload: Any, by: str) -> int:
        """Store an event from outside; how many tasks it wakes."""
        with self._office() as office:
            woken = office.store.emit(name, dumps(payload), by)
            office.store.notify(WORK)
            return woken

    def close(self) -> None:
        """Close the connections that nobody uses."""
        with self._lock:
            idle, self._idle = self._idle, []
        for office in idle:
            office.connection.close()

    def _operate(self, run_id: str, deed: Deed, first: Callable[[TransitionStore], None] | None = None) -> RunStatus:
        with self._office() as office:
            images: list[Image] = []

            def noted(driver: Driver, image: Image) -> None:
                deed(driver, image)
                images.append(image)

            prepare = None if first is None else partial(first, office.store)
            office.desk.operate(run_id, Operation(noted), prepare)
            office.tell()
            return images[-1].run.status

    @contextmanager
    def _office(self) -> Iterator[_Office]:
        with self._lock:
            office = self._idle.pop() if self._idle else None
        office = office or _Office(self._url, self._services)
        try:
            yield office
        finally:
            with self._lock:
                self._idle.append(office)


class _Office:
    """A connection, and the desk over it."""

    def __init__(self, url: str, services: DurableServices) -> None:
        self.connection = DurableConnection(url, "highway-operations")
        worker = f"operations-{secrets.token_hex(4)}"
        self.store = TransitionStore(self.connection, worker, services.settings.lease_seconds)
        self.driver = Driver(self.store, services, NoHands(), utc_now)
        self.desk = Desk(self.driver, lambda _run_id: ())

    def tell(self) -> None:
        """Call those who have nothing to do."""
        if self.driver.enqueued:
            self.driver.enqueued = 0
            self.store.notify(WORK)
        if self.driver.ended:
            self.store.notify(DONE, ",".join(self.driver.ended))
            self.driver.ended.clear()


def _reopen(store: TransitionStore, run_id: str, by: str) -> None:
    """Put every task that was not completed back to where it had not begun. The deadline, if there was one, is over."""
    status = store.reopen(run_id, by)
    if status is None:
        raise RunNotFoundError(f"There is no run '{run_id}'.")
    if RunStatus(status) not in RUN_REOPENABLE:
        raise RunStateError(f"Run '{run_id}' is {status}: only a failed or cancelled run can be tried again.")


def _go_on(driver: Driver, image: Image) -> None:
    """What stands ready after a run was reopened is queued when the image settles."""
    driver.enqueued += 1
    image.replay.decide_all()


def _must_be_open(image: Image, done: str) -> None:
    if image.run.is_over:
        raise RunStateError(f"Run '{image.run_id}' is {image.run.status.value}: it cannot be {done} any more.")


def _row(request: StartRequest) -> Row:
    workflow = request.workflow
    run_id = request.run_id or str(uuid.uuid4())
    row = start_row(run_id, workflow, request.inputs, queue=request.queue, priority=request.priority)
    payload = f"{workflow.definition_hash}\0{row['inp']}"
    row["ph"] = hashlib.sha256(payload.encode()).hexdigest()
    row["who"] = request.created_by
    row["sid"] = request.schedule_id
    row["slot"] = None if request.slot is None else request.slot.timestamp()
    if request.idempotency_key is not None:
        row["key"] = f"key:{request.idempotency_key}"
    elif request.run_id is not None:
        row["key"] = f"{QueueKind.START.value}:{run_id}"
    return row


def _started(answer: Row) -> Started | RunConflictError:
    run_id, status = answer["id"], answer["status"]
    if not answer["same"]:
        return RunConflictError(
            f"Run '{run_id}' was started under that key or id with another document or other inputs.", run_id
        )
    return Started(run_id, answer["created"], RunStatus(status or RunStatus.COMPLETED))
