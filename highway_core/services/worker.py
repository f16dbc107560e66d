"""The worker: claims what is to be done, has it carried out, and commits what came of it.

One thread at a time decides and commits: the deciding one (:meth:`Worker.run`), or whoever has its ``baton``. What
finished while the last commit was in flight goes into the next one, together. Tasks run on threads of their own
(``worker_hands``); leases, notifications and calls to others have their own threads and connections
(``worker_threads``), so that a commit that takes long costs no lease.

The worker hears SIGTERM: it claims nothing more, lets what is being carried out finish for a grace time, gives the rest
back without that counting as an attempt, and ends. A second signal ends it at once.
"""

from __future__ import annotations

import logging
import math
import secrets
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from queue import Empty

from highway_core.config import Settings, current_settings
from highway_core.engine.durable.desk import Desk
from highway_core.engine.durable.driver import Driver
from highway_core.engine.durable.inputs import Answer, Input, Message, Work
from highway_core.engine.durable.operations import TIMER, WORK
from highway_core.engine.durable.wiring import durable_services
from highway_core.errors import ConnectionLostError, StorageError
from highway_core.lifecycle import QueueKind
from highway_core.persistence.database import DatabaseManager, get_db_manager
from highway_core.persistence.durable_connection import LONGEST_CALL, ConnectionPool, DurableConnection
from highway_core.persistence.statements import upkeep
from highway_core.persistence.transition_store import Claim, TransitionStore, Wish
from highway_core.services.baton import Baton
from highway_core.services.database_gate import await_database
from highway_core.services.inbox import Inbox, Posted
from highway_core.services.known_limits import KnownLimits
from highway_core.services.loop import ServiceLoop, Stop, Trouble, install_stop_signals
from highway_core.services.lost_answers import LostAnswers
from highway_core.services.notifications import Notifier
from highway_core.services.process_memory import keep_memory
from highway_core.services.quarantine import Quarantine
from highway_core.services.registration import Registration
from highway_core.services.watchdog import Watchdog
from highway_core.services.worker_appetite import Appetite
from highway_core.services.worker_hands import WorkerHands
from highway_core.services.worker_threads import Caller, Heartbeat, Listener, SideThreads, Teller
from highway_core.utils.clock import SystemClock
from highway_core.utils.process_identity import process_identity

logger = logging.getLogger("HighwayWorker")

_MESSAGES = 200
"""Messages that are claimed at once."""
_PATIENCE = 1.0
"""Seconds that the other threads get to end: one may be in the middle of a call to somebody who does not answer."""
_MOST_INPUTS = 500
"""Inputs that go into one commit."""


class Worker:
    """One worker process. ``run`` returns when it was stopped."""

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        concurrency: int | None = None,
        queues: Sequence[str] | None = None,
    ) -> None:
        self.settings = settings or current_settings()
        self.poll_interval = self.settings.poll_seconds
        self.worker_id = f"{process_identity()}#{secrets.token_hex(3)}"
        self.stop = Stop()
        services = durable_services(self.settings)
        self.tool_registry = services.runner.registry
        url = self.settings.database_url
        self._queues = tuple(queues or self.settings.queues)
        self._concurrency = concurrency or self.settings.concurrency
        self._inbox = Inbox()
        self._baton = Baton()
        self._wakes_at = 0.0
        """When the deciding thread ends its wait (monotonic)."""
        self._loop = ServiceLoop("The worker", self.run_once, self.stop, interval=0.0, logger=logger)
        self._hands = WorkerHands(services.runner, self._concurrency, self._queues, self._post)
        lease = self.settings.lease_seconds
        self._connection = DurableConnection(url, "highway-worker", max(LONGEST_CALL, 2 * lease))
        self._store = TransitionStore(self._connection, self.worker_id, lease)
        self._clock = SystemClock()
        self._registration = Registration(
            self._connection, self.worker_id, self._queues, self._concurrency, self._clock
        )
        self._driver = Driver(self._store, services, self._hands, self._registration.now)
        self._desk = Desk(self._driver, self._hands.running)
        self._side = Stop()
        beat = DurableConnection(url, "highway-heartbeat", lease / 2)
        self._heartbeat = Heartbeat(TransitionStore(beat, self.worker_id, lease), self._hands, lease, freed=self._wake)
        self._watchdog = Watchdog(lease / 8, self._heartbeat.fence)
        self._caller = Caller(DurableConnection(url, "highway-caller"), self.worker_id)
        self._teller = Teller(Notifier(self.settings, ConnectionPool(url, "highway-notices")))
        self._trouble = Trouble("The worker", logger)
        self._quarantine = Quarantine(self._store, self._hands, self.settings.max_lease_losses)
        self._appetite = Appetite(self._clock, self._hands.has_room, self._quarantine.seconds)
        ears = DurableConnection(url, "highway-listener")
        self._listener = Listener(ears, self.worker_id, self._heard, self._appetite.courtesy)
        self._limits = KnownLimits(self._store, self._driver, self._queues, self._clock)
        self._suspects: dict[str, Sequence[Input]] = {}
        self._unsaved: dict[str, list[Input]] = {}
        self._answers = LostAnswers(self._store, self._hands, self._clock)
        self._versions: dict[str, int] = {}

    @cached_property
    def db_manager(self) -> DatabaseManager:
        """Reads of the worker's database."""
        return get_db_manager(engine_url=self.settings.database_url)

    def run(self) -> None:
        """Wait for the database, work until ``stop`` is set, and drain. SchemaError if the database has a schema that
        this version does not know; ConfigError if it is no PostgreSQL."""
        if not await_database("The worker", self.settings.database_url, self.stop):
            return
        queues = ", ".join(self.settings.queues)
        logger.info("The Worker runs as %s: %d at a time, of %s", self.worker_id, self.settings.concurrency, queues)
        if threading.current_thread() is threading.main_thread():  # a process of its own
            keep_memory()
        side = SideThreads(self._heartbeat, self._watchdog, self._listener, self._caller, self._teller)
        side.start(self._side)
        threading.Thread(target=self._hear_stop, name="highway-stop", daemon=True).start()
        try:
            self._loop.run()
            self._drain()
        finally:
            self._hands.close()
            self._side.set()
            side.join(_PATIENCE)
            self._connection.close()

    def _hear_stop(self) -> None:
        """Wake the deciding thread when it is to stop; if it does not come to its end, it waits for an answer that does
        not come."""
        self.stop.wait(None)
        self._inbox.post(None)
        if not self._side.wait(self.settings.grace_seconds + _PATIENCE / 2):
            self._connection.break_off(for_good=True)

    def run_once(self) -> None:
        """One turn: wait for something, claim, apply, commit.

        Whatever a run makes go wrong here that nobody foresaw must not stop the others: what was in hand is tried again
        run by run, and a run that is at fault by itself is left alone until its leases end; another worker may have
        more luck, and after ``max_lease_losses`` the run is failed.
        """
        self._await_news()
        if self._desk.undone:
            self._set_apart()
        if self._suspects:
            run_id, given = self._suspects.popitem()
            self._process({run_id: given}, {})
            return
        self._keep_registered()
        self._share()
        inputs, versions = self._gather()
        if inputs:
            self._process(inputs, versions)

    def _await_news(self) -> None:
        patience = self._patience()
        if patience and not self._has_work():
            self._wakes_at = self._clock.monotonic() + patience
            with self._baton.put_down():
                self._inbox.wait(patience)

    def _has_work(self) -> bool:
        """There is something to be done that waits for nothing."""
        return bool(self._desk.undone or self._suspects or self._unsaved or len(self._inbox) or self._wants_to_claim())

    def _decide(self, answer: Answer) -> bool:
        """Do about an answer what the deciding thread would, on this one. False: that one has to go on."""
        self._loop.lend(lambda: self._process({answer.job.run_id: [answer]}, {}))
        if self._has_work() or self._clock.monotonic() + self._patience() < self._wakes_at:
            self._inbox.post(None)
            return False
        return True

    def _share(self) -> None:
        """Let others have what would still wait for a thread here; it is not counted as an attempt."""
        overdue = self._hands.overdue()
        if not overdue:
            return
        try:
            self._store.give_back(overdue)
        except StorageError:
            self._answers.lost()  # it may be ours still, and nothing here knows of it any more
            raise
        self._caller.call([WORK])

    def _set_apart(self) -> None:
        """The last turn failed: find out over which run."""
        in_hand, self._desk.undone = self._desk.undone, {}
        if len(in_hand) > 1:
            self._suspects.update(in_hand)
            return
        for run_id, given in in_hand.items():
            logger.error(
                "run '%s' is left alone: what happened to it cannot be worked out (%d inputs)", run_id, len(given)
            )
            self._hands.give_up([lease for lease in self._hands.held() if lease[0] == run_id], "its run is at fault")

    def _gather(self) -> tuple[dict[str, list[Input]], dict[str, int]]:
        """What has happened."""
        inputs, self._unsaved = self._unsaved, {}
        versions, self._versions = self._versions, {}
        try:
            self._take(self._answers.found(inputs), inputs, versions)
            self._receive(inputs)
            self._limits.refresh()
            if not inputs and self._wants_to_claim() and not self.stop.is_set():
                self._claim(inputs, versions)
        except StorageError:
            self._unsaved, self._versions = inputs, versions
            self._answers.lost()
            raise
        return inputs, versions

    def _patience(self) -> float:
        """Seconds until there is something to do though nothing is heard."""
        seconds = [self._appetite.seconds(self.poll_interval), self._registration.seconds()]
        others = (self._hands.expire(), self._answers.seconds())
        return max(0.0, min(*seconds, *(one for one in others if one is not None)))

    def _receive(self, inputs: dict[str, list[Input]]) -> None:
        """Take what has been posted, up to a commit's worth."""
        with suppress(Empty):
            for _ in range(_MOST_INPUTS):
                self._note(self._inbox.take(), inputs)

    @staticmethod
    def _note(posted: Posted, inputs: dict[str, list[Input]]) -> None:
        if posted is not None:
            inputs.setdefault(posted[0], []).append(posted[1])

    def _wants_to_claim(self) -> bool:
        return self._appetite.is_there(self.poll_interval)

    def _claim(self, inputs: dict[str, list[Input]], versions: dict[str, int]) -> None:
        slots = self._hands.free()
        self._appetite.looks()
        self._claimed(self._store.claim(self._queues, slots, _MESSAGES), slots, inputs, versions)

    def _claimed(
        self, claims: Sequence[Claim], slots: int, inputs: dict[str, list[Input]], versions: dict[str, int]
    ) -> None:
        self._take(claims, inputs, versions)
        work = sum(claim.kind == QueueKind.WORK for claim in claims)
        if slots:
            self._hands.crowded = work >= slots
        self._appetite.found(len(claims), work_left=work >= slots, again=self._store.again)
        if len(claims) - work >= _MESSAGES:
            self._appetite.call()

    def _take(self, claims: Sequence[Claim], inputs: dict[str, list[Input]], versions: dict[str, int]) -> None:
        admitted = self._quarantine.admit(claims, inputs)
        if len(admitted) < len(claims):
            self._caller.call([WORK, TIMER])
        for claim in admitted:
            inputs.setdefault(claim.run_id, []).append(_input(claim))
            versions[claim.run_id] = claim.version

    def _process(self, inputs: Mapping[str, Sequence[Input]], versions: Mapping[str, int]) -> None:
        wish = None
        self._driver.takes_over = not self._quarantine.seconds(inputs, self._suspects)
        if self._driver.takes_over and self._wants_to_claim() and not self.stop.is_set():
            wish = Wish(self._queues, _MESSAGES)
            self._appetite.looks()
        try:
            try:
                claims = self._desk.process(inputs, versions, wish)
            finally:
                self._tell(inputs)
        except ConnectionLostError:
            # Given again, to images made anew; what was committed is refused then.
            for run_id, given in self._desk.undone.items():
                self._unsaved.setdefault(run_id, []).extend(given)
            progress = len(self._desk.undone) < len(inputs)
            self._desk.undone = {}
            self._appetite.call()
            if not self._answers.lost(progress=progress):
                raise
            return
        self._answers.came()
        if claims is not None:
            try:
                self._claimed(claims, max(0, self._driver.places), self._unsaved, self._versions)
            except StorageError:
                self._answers.lost()
                raise
        elif wish is not None:
            self._appetite.call()  # there was nothing to commit

    def _tell(self, inputs: Mapping[str, Sequence[Input]]) -> None:
        """Tell everybody whom it concerns what was committed."""
        freed = False
        for run_id, given in inputs.items():
            for one in given[: len(given) - len(self._desk.undone.get(run_id, ()))]:
                if isinstance(one, Answer):
                    self._hands.answered(one)
                    freed = freed or self._limits.bind(one)
        driver = self._driver
        channels = [WORK] if driver.enqueued or freed else []
        if driver.soonest < self._registration.now().timestamp() + self.poll_interval:
            channels.append(TIMER)
        self._caller.call(channels, driver.ended)
        if driver.enqueued or freed:
            self._appetite.call()
        driver.enqueued, driver.soonest, driver.ended = 0, math.inf, []
        asked, driver.asked = driver.asked, []
        self._teller.ask(asked)

    def _drain(self) -> None:
        """What is being carried out may finish; the rest is given back."""
        given_back = self._hands.withdraw()
        end = self._clock.monotonic() + self.settings.grace_seconds
        while (given_back or self._unsaved or self._hands.held()) and (left := end - self._clock.monotonic()) > 0:
            try:
                self._store.give_back(given_back)
                given_back = []
                inputs, self._unsaved = self._unsaved, {}
                self._hands.expire()
                self._inbox.wait(min(0.05, left))
                self._receive(inputs)
                if inputs:
                    self._process(inputs, {})
                self._trouble.over()
            except StorageError as error:
                self._side.wait(min(self._trouble.met(error), left))
        held = [*self._hands.held(), *given_back]
        self._hands.give_up(self._hands.held(), "the worker is shutting down")
        try:
            # With what was claimed for us and never came to us.
            held += [(one.run_id, one.path, one.kind, one.fence) for one in self._store.adopt(held)]
            if held:
                self._store.give_back(held)
                logger.info("gave %d tasks back that did not finish in time", len(held))
            self._registration.end()
            self._caller.call([WORK])
        except StorageError as error:
            logger.warning("what was not finished is taken back when its lease ends: %s", error)

    def _keep_registered(self) -> None:
        if self._registration.seconds() > 0:
            return
        runner = self._driver.services.runner
        if unreleased := runner.unreleased():
            for (run_id,) in self._connection.fetch(upkeep.OVER, (unreleased,)):
                runner.release(run_id)  # it has ended elsewhere
        self._driver.threads = self._registration.renew()

    def _post(self, run_id: str, posted: Input) -> None:
        if isinstance(posted, Answer) and self._limits.are_fresh and self._baton.take_up(lambda: self._decide(posted)):
            return
        self._inbox.post((run_id, posted))

    def _heard(self) -> None:
        self._appetite.hear()
        self._inbox.post(None)

    def _wake(self) -> None:
        self._appetite.call()
        self._inbox.post(None)


def _input(claim: Claim) -> Input:
    return Work(claim) if claim.kind == QueueKind.WORK else Message(claim)


def main() -> int:
    """A worker of this process's settings, until a signal."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    worker = Worker()
    restore = install_stop_signals(worker.stop)
    try:
        worker.run()
    finally:
        restore()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
