"""What a worker does beside its deciding thread, over a connection of its own: renew leases, listen, call others."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from queue import Empty, SimpleQueue
from typing import Protocol

from highway_core.engine.durable.operations import DONE, WORK
from highway_core.errors import StorageError
from highway_core.persistence.durable_connection import DurableConnection
from highway_core.persistence.transition_store import TransitionStore
from highway_core.services.loop import Stop, Trouble
from highway_core.services.notifications import Notifier
from highway_core.services.worker_hands import Held, WorkerHands
from highway_core.utils.clock import SystemClock

logger = logging.getLogger("HighwayWorker")

_NOTIFY_PAUSE = 0.003
"""Seconds between two calls: a call takes a lock that the whole database shares."""
_LONGEST_PAYLOAD = 7_000
_HEARTBEATS_A_LEASE = 4
_MARGIN = 0.15
"""The part of a lease that is left when a worker that could not renew it stops what it does."""


class Runs(Protocol):
    """What has a thread of its own."""

    def run(self, stop: Stop) -> None:
        """Until ``stop``."""
        ...


class SideThreads:
    """The threads beside the deciding one, each named after what runs on it."""

    def __init__(self, *parts: Runs) -> None:
        self._parts = parts
        self._threads: list[threading.Thread] = []

    def start(self, stop: Stop) -> None:
        """They end when ``stop`` is set."""
        for one in self._parts:
            name = f"highway-{type(one).__name__.lower()}"
            self._threads.append(threading.Thread(target=one.run, args=(stop,), name=name, daemon=True))
            self._threads[-1].start()

    def join(self, seconds: float) -> None:
        """Wait for all of them, so long at most."""
        clock = SystemClock()
        end = clock.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, end - clock.monotonic()))


class Heartbeat:
    """Renews the leases of one worker. What has lost its lease is stopped; if none can be renewed, all is stopped
    before the leases end, because somebody else will begin it then."""

    def __init__(self, store: TransitionStore, hands: WorkerHands, lease: float, freed: Callable[[], None]) -> None:
        self._store = store
        self._hands = hands
        self._lease = lease
        self._freed = freed
        self._clock = SystemClock()
        self._trouble = Trouble("The heartbeat", logger)
        self._since: dict[Held, float] = {}
        self._fenced: list[Held] = []
        """What was stopped because its lease could not be renewed."""

    def run(self, stop: Stop) -> None:
        """Until ``stop``."""
        while not stop.wait(self._lease / _HEARTBEATS_A_LEASE):
            self.beat()

    def beat(self) -> None:
        """Renew once."""
        held = self._hands.held()
        now = self._clock.monotonic()
        self._since = {lease: self._since.get(lease, now) for lease in held}
        if not held and not self._fenced:
            return
        try:
            kept = self._store.renew(held)
        except StorageError as error:
            self._trouble.met(error)
            return
        self._since = dict.fromkeys(self._since, now)
        still = {*self._hands.unfinished()}
        lost = [lease for lease in held if lease[:3] not in kept and lease in still]
        if lost:
            logger.warning("stopping %d tasks: their leases were lost", len(lost))
            self._hands.give_up(lost, "its lease was lost")
            self._hands.let_go(lost)
        if self._trouble.is_on:
            self._make_up(lost)
        self._trouble.over()

    def fence(self) -> None:
        """Stop what could not be renewed for too long. From another thread: the heartbeat may wait for an answer."""
        limit = self._lease * (1 - _MARGIN) - self._lease / _HEARTBEATS_A_LEASE
        now = self._clock.monotonic()
        late = {lease for lease, since in self._since.items() if now - since > limit}
        late &= {*self._hands.unfinished()} if late else set()
        if late:
            logger.error("stopping %d tasks: their leases cannot be renewed", len(late))
            self._hands.give_up([*late], "its lease could not be renewed")
            self._fenced += late

    def _make_up(self, lost: list[Held]) -> None:
        """The database is there again. This worker lives: it is not what it worked on that has cost it these leases;
        and what it has stopped may be begun anew."""
        fenced, self._fenced = self._fenced, []
        try:
            self._store.excuse([*fenced, *lost])
            self._store.release(fenced)
        except StorageError as error:
            logger.debug("not made up for: %s", error)
            self._fenced += fenced
            return
        self._hands.let_go(fenced)
        self._freed()


class Listener:
    """Hears that there is something to do, and tells the worker, after the ``courtesy`` that it owes the others. What
    the worker has called itself, it knows."""

    def __init__(
        self, connection: DurableConnection, worker_id: str, heard: Callable[[], None], courtesy: Callable[[], float]
    ) -> None:
        self._connection = connection
        self._worker_id = worker_id
        self._heard = heard
        self._courtesy = courtesy
        self._trouble = Trouble("The listener", logger)

    def run(self, stop: Stop) -> None:
        """Until ``stop``. Without it everything still works, one poll interval later."""
        listening = False
        while not stop.is_set():
            try:
                if not listening:
                    self._connection.listen(WORK)
                    listening = True
                    self._trouble.over()
                    self._heard()  # what was told while nobody listened
                if any(payload != self._worker_id for _, payload in self._connection.notifications()):
                    stop.wait(self._courtesy())
                    self._heard()
                stop.wait(60.0, self._connection.fileno())
            except StorageError as error:
                listening = False
                stop.wait(self._trouble.met(error))
        self._connection.close()


class Caller:
    """Tells other processes, a few milliseconds late so that many hints become one."""

    def __init__(self, connection: DurableConnection, worker_id: str) -> None:
        self._connection = connection
        self._worker_id = worker_id
        self._wanted = threading.Event()
        self._lock = threading.Lock()
        self._channels: set[str] = set()
        self._ended: list[str] = []

    def call(self, channels: Iterable[str], ended: Sequence[str] = ()) -> None:
        """There is something on ``channels``; these runs have ended."""
        with self._lock:
            self._channels.update(channels)
            self._ended.extend(ended)
            if not self._channels and not self._ended:
                return
        self._wanted.set()

    def run(self, stop: Stop) -> None:
        """Until ``stop``, and what was to be told by then."""
        while not stop.is_set():
            if self._wanted.wait(0.5):
                self._tell()
                stop.wait(_NOTIFY_PAUSE)
        self._tell()
        self._connection.close()

    def _tell(self) -> None:
        """Tell now. A hint that cannot be told is lost: whoever waits looks for himself after a while."""
        self._wanted.clear()
        with self._lock:
            channels, self._channels = self._channels, set()
            ended, self._ended = self._ended, []
        try:
            for channel in channels:
                self._connection.run("SELECT pg_notify(%s, %s)", (channel, self._worker_id))
            for payload in _payloads(ended):
                self._connection.run("SELECT pg_notify(%s, %s)", (DONE, payload))
        except StorageError as error:
            logger.debug("a notification was lost: %s", error)


class Teller:
    """Tells people that they were asked for a decision."""

    def __init__(self, notifier: Notifier) -> None:
        self._notifier = notifier
        self._asked: SimpleQueue[str] = SimpleQueue()
        self._trouble = Trouble("The notifier", logger)

    def ask(self, approval_ids: Sequence[str]) -> None:
        """These approvals have been committed."""
        for one in approval_ids:
            self._asked.put(one)

    def run(self, stop: Stop) -> None:
        """Until ``stop``; what is missed then, a Scheduler tells."""
        while not stop.is_set():
            try:
                approval = self._asked.get(timeout=0.5)
            except Empty:
                continue
            try:
                self._notifier.notify_new([approval])
                self._trouble.over()
            except StorageError as error:
                self._trouble.met(error)


def _payloads(ended: Sequence[str]) -> list[str]:
    payloads: list[str] = []
    for run_id in ended:
        if payloads and len(payloads[-1]) + len(run_id) < _LONGEST_PAYLOAD:
            payloads[-1] += f",{run_id}"
        else:
            payloads.append(run_id if len(run_id) < _LONGEST_PAYLOAD else "")
    return payloads
