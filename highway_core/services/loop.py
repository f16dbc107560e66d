"""The loop of a long-lived service: what it waits for, how it is stopped, and what it does while the database is away.

A service is a pass that is bounded and says how much it did, and a loop around it that owns everything else. Between
two passes the loop waits for the first of: its interval, the next due moment (which the service is asked for), a
notification, the stop. An error of a pass is said once, when it begins and when it is over; in between the loop tries
again after pauses that grow, and that differ from process to process, so that a database that comes back is not run
down by all who waited for it.
"""

from __future__ import annotations

import logging
import math
import os
import random
import select
import signal
import threading
import weakref
from collections.abc import Callable
from types import FrameType
from typing import Any

from highway_core.errors import SchemaError, StorageError

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 3.0
"""Seconds: a service is back at work this soon after the database is."""


class Stop:
    """An event that any thread and any wait can hear; once set, it stays set."""

    def __init__(self) -> None:
        self._set = False
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        weakref.finalize(self, _close, self._reader, self._writer)

    def set(self) -> None:
        """Idempotent."""
        if not self._set:
            self._set = True
            os.write(self._writer, b"s")  # never read: everybody hears it

    def is_set(self) -> bool:
        return self._set

    def fileno(self) -> int:
        """Readable as soon as the stop is set."""
        return self._reader

    def wait(self, seconds: float | None, *descriptors: int) -> bool:
        """Wait until the stop is set, a descriptor has something to read, or the time is over; whether it is set."""
        poll = select.poll()
        for one in (self._reader, *descriptors):
            poll.register(one, select.POLLIN)
        poll.poll(None if seconds is None else max(0, math.ceil(seconds * 1000)))
        return self._set


class Backoff:
    """Pauses that double up to a ceiling; each is shortened by a random part of up to one half."""

    def __init__(self, first: float = _FIRST_PAUSE, longest: float = _LONGEST_PAUSE) -> None:
        self._first = first
        self._longest = longest
        self._next = first

    def pause(self) -> float:
        """Seconds until the next attempt."""
        seconds = self._next * random.uniform(0.5, 1)  # noqa: S311 - spreads attempts, keeps no secret
        self._next = min(self._next * 2, self._longest)
        return seconds

    def reset(self) -> None:
        """After a success."""
        self._next = self._first


class Trouble:
    """Keeps count of what a service fails at: said when it begins, when it becomes another, and when it is over."""

    def __init__(self, service: str, logger: logging.Logger, backoff: Backoff | None = None) -> None:
        self._service = service
        self._logger = logger
        self._backoff = backoff or Backoff()
        self._kind: object = None

    @property
    def is_on(self) -> bool:
        """The last pass failed."""
        return self._kind is not None

    def met(self, error: Exception) -> float:
        """A pass failed with ``error``; the seconds to wait before the next one."""
        kind = StorageError if isinstance(error, StorageError) else (type(error), str(error))
        if kind != self._kind:
            self._kind = kind
            if isinstance(error, StorageError):
                self._logger.warning("%s waits for the database, and tries again: %s", self._service, error)
            else:
                self._logger.error("%s failed at a pass, and tries again", self._service, exc_info=error)
        return self._backoff.pause()

    def over(self) -> None:
        """A pass succeeded."""
        if self._kind is not None:
            self._kind = None
            self._backoff.reset()
            self._logger.info("%s works again", self._service)


class ServiceLoop:
    """Calls ``run_once`` until ``stop`` is set.

    ``until_next`` is asked after each pass for the seconds until there is something to do (None: nothing is known);
    the loop waits at most ``interval`` seconds. ``hears`` gives the descriptors of the connections whose notifications
    end the wait. A database with another schema is no passing trouble: SchemaError ends the loop.
    """

    def __init__(  # noqa: PLR0913 - the parts of a loop
        self,
        service: str,
        run_once: Callable[[], object],
        stop: Stop,
        *,
        interval: float,
        until_next: Callable[[], float | None] | None = None,
        hears: Callable[[], tuple[int, ...]] | None = None,
        logger: logging.Logger | None = None,
    ) -> None:
        self._run_once = run_once
        self._stop = stop
        self._interval = interval
        self._until_next = until_next
        self._hears = hears
        self._trouble = Trouble(service, logger or logging.getLogger(__name__))

    def run(self) -> None:
        """On the calling thread, until the stop; a pass that has begun is finished."""
        while not self._stop.is_set():
            seconds, descriptors = self._pass()
            self._stop.wait(seconds, *descriptors)

    def lend(self, run_once: Callable[[], object]) -> None:
        """A pass on another thread, kept apart from those of the loop by the caller; what it raises is met alike."""
        try:
            run_once()
        except Exception as error:  # noqa: BLE001 - as in :meth:`_pass`
            self._trouble.met(error)

    def _pass(self) -> tuple[float, tuple[int, ...]]:
        try:
            self._run_once()
            due = self._until_next() if self._until_next else None
            descriptors = self._hears() if self._hears else ()
        except SchemaError:
            raise
        except Exception as error:  # noqa: BLE001 - a service outlives what a pass meets; Trouble says it
            return self._trouble.met(error), ()
        self._trouble.over()
        return self._interval if due is None else min(due, self._interval), descriptors


def install_stop_signals(stop: Stop, second: Callable[[int], object] | None = None) -> Callable[[], None]:
    """Have SIGTERM and SIGINT set ``stop``, and each further one call ``second`` with its number (default: leave at
    once, with the exit code that a shell gives a killed process). Returns what takes that back.

    Called on the main thread. The signals are heard by a thread of their own, so that one is not missed while the main
    thread is inside the database driver. A signal that was ignored at the start (``nohup``) stays ignored.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    thread = threading.Thread(target=_hear, args=(reader, stop, second or leave), name="highway-signals", daemon=True)
    thread.start()
    before_fd = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    before: dict[int, Any] = {
        number: signal.signal(number, _nothing) for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN
    }

    def restore() -> None:
        signal.set_wakeup_fd(before_fd)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(writer)
        thread.join()

    return restore


def leave(number: int) -> None:
    """End the process at once."""
    os._exit(128 + number)


def _hear(reader: int, stop: Stop, second: Callable[[int], object]) -> None:
    asked = False
    while numbers := os.read(reader, 1):
        if numbers[0] not in _SIGNALS:
            continue
        if asked:
            second(numbers[0])
        asked = True
        stop.set()
    os.close(reader)


def _nothing(_number: int, _frame: FrameType | None) -> None:
    """The thread hears it; the main thread only must not die of it."""


def _close(*descriptors: int) -> None:
    for one in descriptors:
        os.close(one)
