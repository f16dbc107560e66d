"""The hands of a worker: threads that carry attempts out, and the clock that their timeouts run by.

More may be accepted than there are threads while tasks are short: what waits here for a thread for a few milliseconds
spares a round trip to the database. With long tasks nothing waits here that another worker could begin.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from queue import SimpleQueue

from highway_core.engine.durable.inputs import Answer, Input, TimedOut
from highway_core.engine.durable.services import Job
from highway_core.engine.task_runner import Failure, Outcome, TaskRunner
from highway_core.errors import ConnectionLostError
from highway_core.lifecycle import QueueKind
from highway_core.utils.clock import SystemClock
from highway_core.utils.stopping import StopScope

logger = logging.getLogger("HighwayWorker")

_AHEAD_SECONDS = 0.03
"""Work is accepted that will have a thread within this time."""
_MOST_AHEAD = 200
_LONGEST_WAIT = 1.0
"""Seconds that something waits here for a thread; then others may have it."""
_PAUSE = 0.5
"""Seconds until the database is tried again."""
_WEIGHT = 0.1
"""Of the newest duration in the running mean."""

Post = Callable[[str, Input], None]
Held = tuple[str, str, str, int]
Attempt = tuple[str, str, int]


class _Own(threading.local):
    """What a thread goes on with, because it decided itself over the answer that it had (see ``baton``)."""

    may_follow = False
    job: Job | None = None

    def take(self) -> Job | None:
        job, self.job = self.job, None
        return job


class WorkerHands:
    """Implements :class:`~highway_core.engine.durable.services.Hands`; only threads and a heap, no database."""

    def __init__(self, runner: TaskRunner, concurrency: int, queues: Sequence[str], post: Post) -> None:
        self.queues = queues
        self.crowded = False
        self._runner = runner
        self._concurrency = concurrency
        self._post = post
        self._clock = SystemClock()
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._held: dict[tuple[str, str], Job] = {}
        self._begun: dict[Attempt, float] = {}
        """When a thread has begun them."""
        self._lost: dict[Attempt, bool] = {}
        """What was stopped after it had begun; True if its result, should there be one after all, is to be offered."""
        self._given_up: frozenset[Held] = frozenset()
        self._closing = False
        self._came: dict[Attempt, float] = {}
        """When the attempts came that no thread has begun yet, the oldest first."""
        self._mean = _AHEAD_SECONDS
        self._timeouts: list[tuple[float, int, Job]] = []
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._threads = 0
        self._own = _Own()

    def free(self) -> int:
        """How many more attempts would be begun within a moment."""
        return 0 if self._closing else max(0, self._capacity() - len(self._held))

    def has_room(self) -> bool:
        """True if it is worth a round trip to look for work: for one long task, for many short ones."""
        capacity = self._capacity()
        return len(self._held) <= (capacity // 2 if capacity > self._concurrency else capacity - 1)

    def _capacity(self) -> int:
        if self._mean >= _AHEAD_SECONDS:
            return self._concurrency
        return self._concurrency + min(_MOST_AHEAD, int(self._concurrency * _AHEAD_SECONDS / max(self._mean, 1e-5)))

    def carry_out(self, job: Job) -> None:
        with self._lock:
            self._held[(job.run_id, job.path)] = job
            if job.timeout_at is not None:
                seconds = (job.timeout_at - job.ask.now).total_seconds()
                entry = (self._clock.monotonic() + seconds, next(self._numbers), job)
                heapq.heappush(self._timeouts, entry)
                if len(self._timeouts) > 2 * len(self._held) + _MOST_AHEAD:  # most of those are over
                    self._timeouts = [one for one in self._timeouts if self._is_held(one[2])]
                    heapq.heapify(self._timeouts)
            if self._own.may_follow and self._own.job is None:
                self._own.job = job
                self._begun[_attempt(job)] = self._clock.monotonic()
                return
            self._came[_attempt(job)] = self._clock.monotonic()
            self._jobs.put(job)
            self._staff()

    def _staff(self) -> None:
        """As many threads as there is work, without those that nobody waits for any more: they may hang for ever."""
        while self._threads - len(self._lost) < min(self._concurrency, len(self._held)):
            self._threads += 1
            threading.Thread(target=self._work, name=f"highway-task-{next(self._numbers)}", daemon=True).start()

    def stop(self, run_id: str, path: str, fence: int, reason: str, *, kill: bool, offer: bool = False) -> None:
        """The attempt is given up; ``offer``: it may be that nobody else has begun it, so a result is worth a try."""
        with self._lock:
            job = self._held.get((run_id, path))
            if job is None or job.ask.fence > fence:
                return
            del self._held[(run_id, path)]
            self._came.pop(_attempt(job), None)
            if _attempt(job) in self._begun:
                self._lost[_attempt(job)] = offer
                self._staff()
        if kill:
            # Killing may take its time (a grace period, a daemon); decisions do not wait for it.
            threading.Thread(target=job.ask.tool.stop.stop, args=(reason,), daemon=True).start()

    def running(self, run_id: str) -> Iterator[tuple[str, StopScope]]:
        """The attempts of a run that are carried out here."""
        with self._lock:
            jobs = [job for key, job in self._held.items() if key[0] == run_id]
        return ((job.path, job.ask.tool.stop) for job in jobs)

    def held(self) -> list[Held]:
        """The leases of what is carried out here."""
        with self._lock:
            return [_lease(job) for job in self._held.values()]

    def unfinished(self) -> list[Held]:
        """The leases of those that have no answer yet. The others are being committed, which ends their leases."""
        with self._lock:
            jobs = [(_attempt(job), job) for job in self._held.values()]
            return [_lease(job) for one, job in jobs if one in self._begun or one in self._came]

    def age(self, lease: Held) -> float | None:
        """Seconds since a thread has begun it, 0 if none has yet; None if it is over."""
        run_id, path, _, fence = lease
        attempt = (run_id, path, fence)
        with self._lock:
            began = self._begun.get(attempt)
            if began is None:
                return 0.0 if attempt in self._came else None
            return self._clock.monotonic() - began

    def give_up(self, leases: Sequence[Held], reason: str) -> None:
        """Stop what has lost its lease, or will. A result that comes all the same is offered: its fence decides."""
        self._given_up |= {*leases}
        for run_id, path, _, fence in leases:
            self.stop(run_id, path, fence, reason, kill=True, offer=True)

    def let_go(self, leases: Iterable[Held]) -> None:
        """Nothing of what was given up is claimed for us any more."""
        self._given_up = self._given_up.difference(leases)

    def known(self) -> list[Held]:
        """The leases of what is carried out here, and of what was given up."""
        with self._lock:
            stopped = [(run_id, path, QueueKind.WORK.value, fence) for run_id, path, fence in self._lost]
        return [*self.held(), *stopped, *self._given_up]

    def overdue(self) -> list[Held]:
        """Take back what has waited for a thread for too long: the tasks before it were no short ones."""
        end = self._clock.monotonic() - _LONGEST_WAIT
        taken: list[Held] = []
        with self._lock:
            while self._came:
                attempt = next(iter(self._came))
                if self._came[attempt] > end:
                    break
                del self._came[attempt]
                run_id, path, fence = attempt
                if self._held[(run_id, path)].ask.fence == fence:
                    del self._held[(run_id, path)]
                    taken.append((run_id, path, QueueKind.WORK.value, fence))
        return taken

    def withdraw(self) -> list[Held]:
        """Take nothing on any more, and take back what no thread has begun: somebody else may have it."""
        self._closing = True
        taken: list[Held] = []
        while not self._jobs.empty():
            job = self._jobs.get()
            if job is not None:
                with self._lock:
                    self._came.pop(_attempt(job), None)
                    if self._held.pop((job.run_id, job.path), None) is not None:
                        taken.append(_lease(job))
        return taken

    def expire(self) -> float | None:
        """Tell of attempts that outlived their timeout; seconds until the next one may, or something is overdue."""
        now = self._clock.monotonic()
        with self._lock:
            while self._timeouts and (self._timeouts[0][0] <= now or not self._is_held(self._timeouts[0][2])):
                _, _, job = heapq.heappop(self._timeouts)
                if self._is_held(job):
                    self._post(job.run_id, TimedOut(job.path, job.ask.fence))
            soon = [self._timeouts[0][0] - now] if self._timeouts else []
            if self._came:
                soon.append(next(iter(self._came.values())) + _LONGEST_WAIT - now)
            return max(0.0, min(soon)) if soon else None

    def answered(self, answer: Answer) -> None:
        """An answer was taken up by the deciding thread: its lease needs no renewal any more."""
        job = answer.job
        with self._lock:
            held = self._held.get((job.run_id, job.path))
            if held is not None and held.ask.fence == job.ask.fence:
                del self._held[(job.run_id, job.path)]

    def close(self) -> None:
        """No thread begins anything any more."""
        for _ in range(self._threads):
            self._jobs.put(None)

    def _is_held(self, job: Job) -> bool:
        held = self._held.get((job.run_id, job.path))
        return held is not None and held.ask.fence == job.ask.fence

    def _work(self) -> None:
        clock, own = self._clock, self._own
        while (job := own.take() or self._jobs.get()) is not None:
            attempt = _attempt(job)
            began = clock.monotonic()
            with self._lock:
                if not self._is_held(job):
                    self._begun.pop(attempt, None)
                    self._lost.pop(attempt, None)
                    continue
                self._came.pop(attempt, None)
                self._begun[attempt] = began
            outcome = self._outcome(job)
            seconds = clock.monotonic() - began
            self._mean += (seconds - self._mean) * _WEIGHT
            with self._lock:
                self._begun.pop(attempt, None)
                offered = self._lost.pop(attempt, None)
                surplus = offered is not None and self._threads - len(self._lost) > self._concurrency
                if surplus:
                    self._threads -= 1
            if offered is None or (offered and not isinstance(outcome, Failure)):
                own.may_follow = offered is None
                self._post(job.run_id, Answer(job, outcome, seconds))
                own.may_follow = False
            if surplus:
                return

    def _outcome(self, job: Job) -> Outcome:
        """A database that is away holds up an attempt that refers to what is in there, and fails nothing."""
        while True:
            try:
                return self._runner.run(job.ask)
            except ConnectionLostError as error:
                logger.debug("task '%s' of run '%s' has to wait: %s", job.path, job.run_id, error)
                if job.ask.tool.stop.wait(_PAUSE):
                    return Failure(str(error))


def _attempt(job: Job) -> Attempt:
    return (job.run_id, job.path, job.ask.fence)


def _lease(job: Job) -> Held:
    return (job.run_id, job.path, QueueKind.WORK.value, job.ask.fence)
