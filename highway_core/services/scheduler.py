"""The Scheduler: does what needs a clock, and nothing else. Workers decide; it only makes rows claimable.

It asks the database for the next due moment (a timer, the end of a lease, a schedule's slot) and sleeps until then, or
until somebody says on ``highway_timer`` that something is due earlier. Moments never leave the database's clock: what
comes out of it are seconds from now. Any number of Schedulers may run: rows are taken with SKIP LOCKED, and what one
has done another finds done. Without any, chains of tasks go on; what waits for a moment waits longer.

Beside that: every half minute a sweep that repairs what can only be wrong by a defect, and counts it, and now and then
the deletion of runs that are older than ``HIGHWAY_RETENTION_DAYS``.
"""

from __future__ import annotations

import logging
import random
import sys
import threading
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

from highway_core.config import Settings, current_settings
from highway_core.errors import HighwayError, StorageError
from highway_core.persistence.durable_connection import ConnectionPool, DurableConnection
from highway_core.persistence.presence import Presence
from highway_core.persistence.schedule_store import ScheduleStore
from highway_core.persistence.upkeep import Look, Upkeep
from highway_core.services.database_gate import await_database
from highway_core.services.loop import Backoff, ServiceLoop, Stop, install_stop_signals
from highway_core.services.notifications import Notifier
from highway_core.services.schedules import TIMER_CHANNEL, WORK_CHANNEL
from highway_core.services.slot_starts import SlotStarter
from highway_core.utils.clock import Clock, SystemClock

if TYPE_CHECKING:
    from highway_core.persistence.database import DatabaseManager

logger = logging.getLogger("HighwayScheduler")

_NAME = "The Scheduler"
_BATCH = 1000
"""Rows that one statement wakes or rescues."""
_MOST_BATCHES = 20
"""In one pass: the other duties come in between."""
_SHORTEST_PAUSE = 0.005
"""Seconds between two passes: timers that follow each other closely are woken together."""
_OVERDUE_SLOTS = 1.0
"""Seconds between two looks at a slot that cannot be started yet, because the schedule has as many runs as it may."""
_SWEEP = 30.0
_SWEEP_AGE = 10.0
"""Seconds: younger rows may be in the middle of something."""
_SWEEP_LIMIT = 500
"""Open runs that are looked at at once."""
_BETWEEN = 0.05
"""Seconds between two such looks of one sweep."""
_RETENTION = 3600.0
_RETENTION_BATCH = 20
_RETENTION_ROWS = 1000
_NOTICES = 15.0
_PRESENCE = 15.0
_DEAD_AFTER = 900.0


class Scheduler:
    """One Scheduler; :meth:`run` blocks until ``stop`` is set."""

    def __init__(self, settings: Settings | None = None, stop: Stop | None = None, clock: Clock | None = None) -> None:
        self.settings = settings or current_settings()
        self.poll_interval = min(self.settings.poll_seconds, self.settings.lease_seconds)
        """Seconds: the longest sleep. No lease begins and ends unseen in it."""
        self.stop = stop or Stop()
        self._clock = clock or SystemClock()
        self._connection = DurableConnection(self.settings.database_url, "highway scheduler")
        self._upkeep = Upkeep(self._connection)
        self._starter = SlotStarter(ScheduleStore(self._connection), self._clock)
        self._presence = Presence("scheduler")
        self._look: Look | None = None
        self._slots_at = 0.0
        """When slots are looked at next, on the clock of this process."""
        self._stuck = Backoff(0.01, 1.0)
        self._sweep = _Chore(self.poll_for_completed_workflows, _SWEEP)
        self._chores = [
            _Chore(self._report_presence, _PRESENCE),
            self._sweep,
            _Chore(self.delete_what_is_old, _RETENTION),
        ]

    @cached_property
    def db_manager(self) -> DatabaseManager:
        """For reading runs and tasks; the Scheduler itself does not need it."""
        from highway_core.persistence.database import DatabaseManager  # noqa: PLC0415 - takes SQLAlchemy to import

        return DatabaseManager(engine_url=self.settings.database_url)

    def run(self) -> None:
        """Wait for the database, then work until the stop; SchemaError if it is another version's."""
        loop = ServiceLoop(
            _NAME,
            self.run_once,
            self.stop,
            interval=self.poll_interval,
            until_next=self.until_next,
            hears=self._hears,
            logger=logger,
        )
        try:
            if await_database(_NAME, self.settings.database_url, self.stop):
                logger.info("The Scheduler runs as %s", self._presence.worker_id)
                threading.Thread(target=self._tell_people, name="highway-notices", daemon=True).start()
                loop.run()
        finally:
            self.close()

    def _tell_people(self) -> None:
        """Notify of approvals whose worker died before it could; apart, because a receiver may take its time."""
        pool = ConnectionPool(self.settings.database_url, "highway notices")
        notifier = Notifier(self.settings, pool)

        def tell() -> None:
            try:
                notifier.notify_pending()
            except StorageError as error:
                logger.debug("No look at approvals that nobody was told of: %s", error)  # the Scheduler itself says it

        ServiceLoop("The notifier", tell, self.stop, interval=_NOTICES, logger=logger).run()
        pool.close()

    def run_once(self) -> int:
        """One bounded pass over everything that is due; how many rows and runs it moved."""
        self._open()
        now = self._clock.monotonic()
        look = self._upkeep.look()
        moved = 0
        if _is_due(look.timer):
            moved += self.poll_for_runnable_tasks()
        if _is_due(look.lease):
            moved += self.poll_for_waiting_tasks()
        if look.slot_overdue and now >= self._slots_at:
            moved += self.poll_for_ready_workflows()
            self._slots_at = now + _OVERDUE_SLOTS
        moved += sum(chore.run(now) for chore in self._chores)
        if moved:
            self._stuck.reset()
            self._look = None
        else:
            self._look = look
        return moved

    def until_next(self) -> float:
        """Seconds until something is due, as far as is known."""
        if self._heard():
            return _SHORTEST_PAUSE
        look = self._look or self._upkeep.look()
        now = self._clock.monotonic()
        rows = [seconds for seconds in (look.timer, look.lease) if seconds is not None]
        if self._look is not None and any(seconds <= 0 for seconds in rows):
            # Due, and yet nothing could be taken: somebody has locked it. Other rows must not wait for long.
            return self._stuck.pause()
        moments = [*rows, *(chore.at - now for chore in self._chores)]
        if look.slot is not None:
            moments.append(look.slot)
            self._slots_at = min(self._slots_at, now + look.slot)
        if look.slot_overdue:
            moments.append(self._slots_at - now)
        return max(_SHORTEST_PAUSE, min(moments))

    def poll_for_ready_workflows(self) -> int:
        """Start the runs of schedules whose slot has come; how many."""
        return self._told(self._starter.start_due())

    def poll_for_runnable_tasks(self) -> int:
        """Make timers, retries, timeouts and deadlines that are due claimable; how many."""
        return self._told(_in_batches(self._upkeep.wake))

    def poll_for_waiting_tasks(self) -> int:
        """Take back what workers have lost their lease of; how many."""
        rescued = self._told(_in_batches(self._upkeep.rescue))
        if rescued:
            logger.warning("%d leases were over, and their work was queued again", rescued)
        return rescued

    def poll_for_completed_workflows(self) -> int:
        """Repair rows that are missing in the queue, and deliver events that were missed; how many rows."""
        repaired = self._upkeep.repair(_SWEEP_AGE, _SWEEP_LIMIT)
        if repaired:
            logger.warning("%d rows were missing in the queue and were put back", repaired)
        told = self._told(repaired + self._upkeep.deliver(_SWEEP_LIMIT))
        if self._upkeep.sweeping:
            self._sweep.at = self._clock.monotonic() + _BETWEEN
        return told

    def delete_what_is_old(self) -> int:
        """One batch of runs, events and keys that are past their time; 0 if there are no more."""
        days = self.settings.retention_days
        if days is None:
            return 0
        runs = self._upkeep.delete_old_runs(days, _RETENTION_BATCH)
        if runs:
            logger.info("%d runs that ended more than %g days ago were deleted", runs, days)
        return (
            runs
            + self._upkeep.delete_old_events(days, _RETENTION_ROWS)
            + self._upkeep.delete_old_keys(days, _RETENTION_ROWS)
        )

    def close(self) -> None:
        """Idempotent; says goodbye if the database can hear it."""
        if self._connection.is_open:
            try:
                self._presence.leave(self._connection)
            except StorageError as error:
                logger.debug("Not signed off: %s", error)
        self._connection.close()

    def _open(self) -> None:
        """Hear of new timers from now on; said anew after the connection was lost."""
        if not self._connection.is_open:
            self._connection.listen(TIMER_CHANNEL)
            self._slots_at = 0.0
        else:
            self._heard()

    def _heard(self) -> bool:
        if not self._connection.notifications():
            return False
        self._slots_at = 0.0  # it may be a new schedule
        return True

    def _hears(self) -> tuple[int, ...]:
        return (self._connection.fileno(),)

    def _told(self, amount: int) -> int:
        if amount:
            self._upkeep.notify(WORK_CHANNEL)
        return amount

    def _report_presence(self) -> int:
        self._presence.seen(self._connection)
        self._upkeep.forget_dead_services(_DEAD_AFTER)
        return 0


class _Chore:
    """Something to do every now and then, not by all Schedulers at the same moment; at once again if it had work."""

    def __init__(self, work: Callable[[], int], interval: float) -> None:
        self._work = work
        self._interval = interval
        self.at = 0.0

    def run(self, now: float) -> int:
        if now < self.at:
            return 0
        self.at = now + self._interval * random.uniform(0.75, 1.25)  # noqa: S311 - keeps no secret
        done = self._work()
        if done:
            self.at = now
        return done


def _is_due(seconds: float | None) -> bool:
    return seconds is not None and seconds <= 0


def _in_batches(move: Callable[[int], int]) -> int:
    moved = 0
    for _ in range(_MOST_BATCHES):
        amount = move(_BATCH)
        moved += amount
        if amount < _BATCH:
            break
    return moved


def main() -> int:
    """``python -m highway_core.services.scheduler``."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        scheduler = Scheduler()
        install_stop_signals(scheduler.stop)
        scheduler.run()
    except HighwayError as error:
        logger.error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
