"""Several processes at the desks of one PostgreSQL, without threads and clock: a random number generator chooses.

The desks, drivers, images and statements are the real ones; only the loop of a worker and its threads are replaced. So
one seed is one order of claims, answers, commits, lost connections, killed processes and lost leases, and a failure can
be replayed. :mod:`tests.desk_images` holds the images against the rows.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from highway_core.engine.durable.desk import Desk
from highway_core.engine.durable.driver import Driver
from highway_core.engine.durable.inputs import Answer, Input, Message, TimedOut, Work
from highway_core.engine.durable.operations import DurableRuns, StartRequest
from highway_core.engine.durable.services import DurableServices, Job
from highway_core.engine.graph import CompiledWorkflow
from highway_core.errors import ConnectionLostError, RunStateError
from highway_core.lifecycle import RUN_FINAL, QueueKind, RunStatus, TaskStatus
from highway_core.persistence.durable_connection import DurableConnection
from highway_core.persistence.transition_store import Claim, TransitionStore, Wish, Written
from highway_core.utils.stopping import StopScope
from tests.desk_images import differences, dump

MILD = ("forget", "cut")
"""Faults after which no attempt has to be made again."""
FAULTS = (*MILD, "rescue", "kill")
LONG_AGO = "'1970-01-01'::timestamptz"
_WAITING = (TaskStatus.WAITING_FOR_TIMER.value, TaskStatus.WAITING_FOR_EVENT.value)


class FaultyStore(TransitionStore):
    """Loses its connection at the next commit: ``before`` it, or ``after``, when nobody hears that it went through."""

    fault = ""
    _inside = False

    def commit(
        self, runs: Sequence[Written], wish: Wish | None = None, slots: int = 0
    ) -> tuple[set[str], list[Claim] | None]:
        self._cut("before")
        answer = super().commit(runs, wish, slots)
        self._cut("after statement")
        if not self._inside:
            self._cut("after")
        return answer

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self._inside = True
        try:
            with super().transaction():
                yield
        finally:
            self._inside = False
        self._cut("after")

    def _cut(self, place: str) -> None:
        if self.fault == place:
            self.fault = ""
            raise ConnectionLostError(f"The test cuts the connection {place} a commit.")


@dataclass
class FakeHands:
    """Collects jobs; the test answers them."""

    queues: Sequence[str]
    places: int = 2
    crowded: bool = False
    jobs: list[Job] = field(default_factory=list)
    """Held: not answered yet, or the answer is not committed yet."""
    answered: list[Job] = field(default_factory=list)
    """Those whose answer is on the desk."""

    def free(self) -> int:
        return max(0, self.places - len(self.jobs))

    def carry_out(self, job: Job) -> None:
        self.jobs.append(job)

    def stop(self, run_id: str, path: str, fence: int, reason: str, *, kill: bool) -> None:
        self.jobs = [job for job in self.jobs if (job.run_id, job.path) != (run_id, path) or job.ask.fence > fence]

    def running(self, run_id: str) -> list[tuple[str, StopScope]]:
        return [(job.path, job.ask.tool.stop) for job in self.jobs if job.run_id == run_id]

    def over(self, job: Job) -> None:
        """Its answer was taken up."""
        self.jobs = [one for one in self.jobs if one is not job]
        self.answered = [one for one in self.answered if one is not job]

    def waiting(self) -> list[Job]:
        """Those that are still being carried out."""
        return [job for job in self.jobs if not any(job is one for one in self.answered)]


class Seat:
    """One process: its desk, and what it has not dealt with."""

    def __init__(self, url: str, services: DurableServices, queue: str, number: int, clock: Callable[[], datetime]):
        self.connection = DurableConnection(url)
        self.store = FaultyStore(self.connection, f"desk-{number}", 30.0)
        self.hands = FakeHands((queue,))
        self.driver = Driver(self.store, services, self.hands, clock)
        self.desk = Desk(self.driver, self.hands.running)
        self.inbox: list[tuple[str, Input]] = []
        self.versions: dict[str, int] = {}

    def leases(self) -> set[tuple[str, str, str, int]]:
        """What it holds of the queue."""
        held = {(job.run_id, job.path, QueueKind.WORK.value, job.ask.fence) for job in self.hands.jobs}
        for run_id, one in self.inbox:
            if isinstance(one, Work | Message):
                held.add((run_id, one.claim.path, one.claim.kind, one.claim.fence))
        return held


class Desks:
    """``step`` lets something happen, ``finish`` lets everything happen that can without a fault."""

    def __init__(
        self, url: str, services: DurableServices, seed: int, *, seats: int = 2, queue: str = "default", look: float = 1
    ) -> None:
        self.random = random.Random(seed)
        self.url = url
        self.services = services
        self.queue = queue
        self.look = look
        """How probably an image is held against its rows after a step."""
        self.time = datetime.now(UTC)
        self.connection = DurableConnection(url)
        self.seats = [Seat(url, services, queue, number, self._now) for number in range(seats)]
        self.inspector = Seat(url, services, "nobody's", 99, self._now)
        self.runs: list[str] = []
        self.operations = DurableRuns(url, services)
        self.fences: dict[tuple[str, str], int] = {}
        self.executed: list[tuple[str, str, int]] = []
        self.history: list[str] = []
        self.deeds: list[Callable[[str], object]] = []
        """What operators may do; each is given a run id."""
        self.events: list[str] = []
        """Names of events that may come from outside."""
        self.faults: Sequence[str] = FAULTS

    def _now(self) -> datetime:
        return self.time

    def close(self) -> None:
        """Leave nothing behind that another test would find."""
        self.connection.run("DELETE FROM task_queue WHERE queue = %s", (self.queue,))
        self.operations.close()
        for seat in (*self.seats, self.inspector):
            seat.connection.close()
        self.connection.close()

    def start(self, run_id: str, workflow: CompiledWorkflow, inputs: Mapping[str, Any] | None = None) -> str:
        self.operations.start(StartRequest(workflow, inputs or {}, run_id=run_id, queue=self.queue))
        self.runs.append(run_id)
        return run_id

    # What may happen.

    def step(self) -> None:  # noqa: C901 - a list of what may happen
        """One thing happens."""
        kinds = ["claim", "process", "answer"] * 6 + ["wake", "time out", "places", "adopt"]
        kinds += self.faults
        if self.deeds:
            kinds += ["deed"]
        if self.events:
            kinds += ["event"]
        kind = self.random.choice(kinds)
        seat = self.random.choice(self.seats)
        self.history.append(f"{kind} {self.seats.index(seat)}")
        match kind:
            case "claim":
                self.claim(seat, self.random.randint(0, 3), self.random.randint(0, 4))
            case "process":
                self.process(seat, self.random.randint(1, 5))
            case "answer":
                self.answer(seat)
            case "adopt":
                self.adopt(seat)
            case "wake":
                self.wake()
            case "time out":
                self.time_out(seat)
            case "places":
                seat.hands.places = self.random.randint(0, 4)
                seat.hands.crowded = self.random.random() < 0.3
            case "rescue":
                self.rescue()
            case "forget":
                seat.desk.forget(self.random.choices(list(seat.driver.images), k=1) if seat.driver.images else [])
            case "kill":
                self.kill(seat)
            case "cut":
                seat.store.fault = self.random.choice(["before", "after", "after statement"])
            case "deed":
                self.do(self.random.choice(self.deeds))
            case "event":
                self.operations.emit(self.events.pop(), {"number": len(self.events)}, "test")

    def claim(self, seat: Seat, slots: int, messages: int) -> int:
        return self._take(seat, seat.store.claim([self.queue], slots, messages))

    def adopt(self, seat: Seat) -> int:
        """It learns of what was claimed for it when its connection was lost."""
        return self._take(seat, seat.store.adopt(sorted(seat.leases())))

    def _take(self, seat: Seat, claims: Sequence[Claim]) -> int:
        for claim in claims:
            posted: Input = Work(claim) if claim.kind == QueueKind.WORK else Message(claim)
            seat.inbox.append((claim.run_id, posted))
            seat.versions[claim.run_id] = max(claim.version, seat.versions.get(claim.run_id, -1))
        return len(claims)

    def process(self, seat: Seat, most: int) -> None:
        """Give the desk what came first."""
        given, seat.inbox = seat.inbox[:most], seat.inbox[most:]
        inputs: dict[str, list[Input]] = {}
        for run_id, one in given:
            inputs.setdefault(run_id, []).append(one)
        versions = {run_id: seat.versions[run_id] for run_id in inputs if run_id in seat.versions}
        wish = Wish([self.queue], self.random.randint(0, 4)) if self.random.random() < 0.5 else None
        try:
            claims = seat.desk.process(inputs, versions, wish)
            self._take(seat, claims or ())
        except ConnectionLostError:
            self.history.append(f"lost {self.seats.index(seat)}")
            again = [(run_id, one) for run_id, left in seat.desk.undone.items() for one in left]
            seat.inbox = again + seat.inbox
            given = [(run_id, one) for run_id, one in given if not any(one is other for _, other in again)]
            seat.versions.clear()
        finally:
            self._watch_fences()
        for _, one in given:
            if isinstance(one, Answer):
                seat.hands.over(one.job)
        if self.random.random() < self.look:
            self.look_at(seat)

    def answer(self, seat: Seat) -> bool:
        waiting = seat.hands.waiting()
        if not waiting:
            return False
        job = self.random.choice(waiting)
        seat.hands.answered.append(job)
        self.executed.append((job.run_id, job.path, job.ask.fence))
        seat.inbox.append((job.run_id, Answer(job, self.services.runner.run(job.ask))))
        return True

    def time_out(self, seat: Seat) -> bool:
        """An attempt outlives its timeout."""
        timed = [job for job in seat.hands.waiting() if job.timeout_at is not None]
        if not timed:
            return False
        job = self.random.choice(timed)
        assert job.timeout_at is not None
        self.time = max(self.time, job.timeout_at)
        seat.inbox.append((job.run_id, TimedOut(job.path, job.ask.fence)))
        return True

    def wake(self) -> bool:
        """Time goes on to the next moment that somebody waits for."""
        due = self.connection.fetch(
            "SELECT workflow_id, task_id, kind, due_at FROM task_queue"
            " WHERE queue = %s AND status IN %s AND due_at IS NOT NULL ORDER BY due_at LIMIT 1",
            (self.queue, _WAITING),
        )
        if not due:
            return False
        run_id, path, kind, moment = due[0]
        self.time = max(self.time, moment + timedelta(milliseconds=1))
        key = (run_id, path, kind)
        where = "WHERE workflow_id = %s AND task_id = %s AND kind = %s"
        self.connection.run(f"UPDATE task_queue SET due_at = {LONG_AGO} {where}", key)
        assert self.connection.value("SELECT highway_wake(1)") == 1
        return True

    def rescue(self, *, all_but: set[tuple[str, str, str, int]] | None = None) -> int:
        """The lease of somebody ends; ``all_but``: of everybody but these."""
        rows = self.connection.fetch(
            """SELECT workflow_id, task_id, kind, fence FROM task_queue WHERE queue = %s AND status = %s
                ORDER BY 1, 2, 3""",
            (self.queue, TaskStatus.RUNNING.value),
        )
        if all_but is None:
            rows = [self.random.choice(rows)] if rows else []
        else:
            rows = [row for row in rows if row not in all_but]
        for row in rows:
            where = "WHERE workflow_id = %s AND task_id = %s AND kind = %s AND fence = %s"
            self.connection.run(f"UPDATE task_queue SET lease_until = {LONG_AGO} {where}", row)
        if rows:
            assert self.connection.value("SELECT highway_rescue(%s)", (len(rows),)) == len(rows)
        return len(rows)

    def kill(self, seat: Seat) -> None:
        """The process is gone, and another one takes its place."""
        seat.desk.forget(list(seat.driver.images))
        seat.driver.contended.clear()
        seat.hands.jobs.clear()
        seat.hands.answered.clear()
        seat.inbox.clear()
        seat.versions.clear()
        seat.store.fault = ""

    def do(self, deed: Callable[[str], object]) -> None:
        """An operator tries something."""
        run_id = self.random.choice(self.runs)
        try:
            deed(run_id)
            self.history.append(f"done {run_id}")
        except RunStateError as error:
            self.history.append(f"refused: {error}")

    def finish(self, limit: int = 5_000) -> None:
        """No faults any more: everything that can happen does."""
        for seat in self.seats:
            seat.store.fault = ""
            seat.hands.places, seat.hands.crowded = 3, False
        for _ in range(limit):
            if not self._go_on():
                return
        raise AssertionError(f"it does not end: {self.stuck()}")

    def _go_on(self) -> bool:
        seats = self.random.sample(self.seats, len(self.seats))
        busy = False
        for seat in seats:
            busy = self.adopt(seat) + self.claim(seat, 3, 5) > 0 or busy
            while self.answer(seat):
                busy = True
            busy = busy or bool(seat.inbox)
            if seat.inbox:
                self.process(seat, 100)
        held = set().union(*(seat.leases() for seat in self.seats))
        return busy or self.rescue(all_but=held) > 0 or self.wake()

    # What must hold.

    def look_at(self, seat: Seat) -> None:
        """Every image of the newest version is what the rows say."""
        for run_id, image in list(seat.driver.images.items()):
            (known,) = self.connection.fetch("SELECT version FROM workflows WHERE workflow_id = %s", (run_id,))
            if image.version == known[0]:
                self.inspector.desk._refresh({run_id: -1}, lock=False)
                fresh = self.inspector.driver.images[run_id]
                wrong = differences(dump(image), dump(fresh))
                self.inspector.desk.forget([run_id])
                assert not wrong, f"run {run_id}, version {image.version}: " + "\n".join(wrong)

    def _watch_fences(self) -> None:
        rows = self.connection.fetch(
            "SELECT t.workflow_id, t.task_id, t.fence FROM tasks t JOIN workflows w ON w.workflow_id = t.workflow_id"
            " WHERE w.queue = %s",
            (self.queue,),
        )
        for run_id, path, fence in rows:
            before = self.fences.get((run_id, path), 0)
            assert fence >= before, f"the fence of {path} of {run_id} fell from {before} to {fence}"
            self.fences[(run_id, path)] = fence

    def status(self, run_id: str) -> RunStatus:
        return RunStatus(self.connection.value("SELECT status FROM workflows WHERE workflow_id = %s", (run_id,)))

    def stuck(self) -> Any:
        """What stands where, for messages."""
        where = "WHERE workflow_id IN (SELECT workflow_id FROM workflows WHERE queue = %s)"
        return {
            "runs": self.connection.fetch(f"SELECT workflow_id, status, version FROM workflows {where}", (self.queue,)),
            "open": self.connection.fetch(
                f"SELECT workflow_id, task_id, status FROM tasks {where} AND completed_at IS NULL", (self.queue,)
            ),
            "queue": self.connection.fetch(
                f"SELECT workflow_id, task_id, kind, status, fence, payload_json FROM task_queue {where}", (self.queue,)
            ),
        }

    def open_runs(self) -> list[str]:
        """Those of the queue, children included, that are not over."""
        rows = self.connection.fetch("SELECT workflow_id, status FROM workflows WHERE queue = %s", (self.queue,))
        return [run_id for run_id, status in rows if RunStatus(status) not in RUN_FINAL]
