"""Waiting for the end of runs: one LISTEN connection a process, shared by every thread that waits.

A notification on ``highway_done`` names runs that have ended (or nothing: "look"). It is a hint that may be lost, so
the runs waited for are also looked up once a second. The thread that listens lives as long as somebody waits, and a
little longer.
"""

from __future__ import annotations

import logging
import selectors
import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from highway_core.errors import StorageError
from highway_core.lifecycle import RUN_FINAL, RunStatus
from highway_core.persistence.durable_connection import DurableConnection
from highway_core.utils.clock import Clock, SystemClock

CHANNEL = "highway_done"
_LOOK_SECONDS = 1.0
_IDLE_SECONDS = 60.0
_LISTENING_SECONDS = 2.0
"""How long a waiter lets the listener get ready; after that it is polling that serves it."""
_HEARING_SECONDS = 0.02
"""A run that has just been started may be over by then. To look it up at once would only be in its way."""

_log = logging.getLogger(__name__)

Statuses = Callable[[Iterable[str]], Mapping[str, RunStatus]]


@dataclass(slots=True, eq=False)
class _Wait:
    """One thread that waits for one run."""

    run_id: str
    over: threading.Event = field(default_factory=threading.Event)


class RunWaiter:
    """Waits for runs of one database. Thread-safe. ``statuses`` looks runs up (``RunReads.statuses``)."""

    def __init__(self, url: str, statuses: Statuses, clock: Clock | None = None) -> None:
        self._url = url
        self._statuses = statuses
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._waits: dict[str, set[_Wait]] = {}
        self._listener: _Listener | None = None

    def wait_for_end(self, run_id: str, seconds: float) -> bool:
        """True as soon as the run has ended, False if it has not within ``seconds`` (or if there is no such run)."""
        end = self._clock.monotonic() + seconds
        wait = _Wait(run_id)
        listener = self._enter(wait)
        try:
            # Looked up only when ends are heard of: what ends from now on is notified.
            if listener.ready.is_set():
                wait.over.wait(min(_HEARING_SECONDS, max(seconds, 0)))
            else:
                listener.ready.wait(min(_LISTENING_SECONDS, max(seconds, 0)))
            wait.over.clear()
            while True:
                status = self._statuses([run_id]).get(run_id)
                if status is None or status in RUN_FINAL:
                    return status is not None
                if not wait.over.wait(max(end - self._clock.monotonic(), 0)):
                    return False
                wait.over.clear()  # what was heard may be old: the run may have been tried again since
        finally:
            self._leave(wait)

    def close(self) -> None:
        """Stop listening; whoever waits goes on until its time is up."""
        with self._lock:
            listener, self._listener = self._listener, None
        if listener is not None:
            listener.stop()

    def _enter(self, wait: _Wait) -> _Listener:
        with self._lock:
            self._waits.setdefault(wait.run_id, set()).add(wait)
            if self._listener is None or not self._listener.is_alive:
                self._listener = _Listener(self._url, self._heard, self._look, self._may_end, self._clock)
                self._listener.start()
            else:
                self._listener.rouse()
            return self._listener

    def _leave(self, wait: _Wait) -> None:
        with self._lock:
            waits = self._waits.get(wait.run_id, set())
            waits.discard(wait)
            if not waits:
                self._waits.pop(wait.run_id, None)

    def _heard(self, run_ids: Iterable[str]) -> None:
        with self._lock:
            for run_id in run_ids:
                for wait in self._waits.get(run_id, ()):
                    wait.over.set()

    def _look(self) -> bool:
        """Look up every run that is waited for; False if there is none."""
        with self._lock:
            waited_for = list(self._waits)
        if waited_for:
            self._heard(run_id for run_id, status in self._statuses(waited_for).items() if status in RUN_FINAL)
        return bool(waited_for)

    def _may_end(self, listener: _Listener) -> bool:
        """True, and the listener is forgotten, if nobody waits."""
        with self._lock:
            if self._waits:
                return False
            if self._listener is listener:
                self._listener = None
            return True


class _Listener:
    """The thread that hears notifications."""

    def __init__(
        self,
        url: str,
        heard: Callable[[Iterable[str]], None],
        look: Callable[[], bool],
        may_end: Callable[[_Listener], bool],
        clock: Clock,
    ) -> None:
        self._clock = clock
        self._connection = DurableConnection(url, "highway-waiter")
        self._heard = heard
        self._look = look
        self._may_end = may_end
        self._stopping = False
        self._roused, self._rouser = socket.socketpair()
        self._roused.setblocking(False)
        self._rouser.setblocking(False)
        self._thread = threading.Thread(target=self._run, name="highway-run-waiter", daemon=True)
        self.ready = threading.Event()
        """Set as long as ends are heard of."""

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive() and not self._stopping

    def start(self) -> None:
        self._thread.start()

    def rouse(self) -> None:
        """Let it notice that somebody waits."""
        try:
            self._rouser.send(b"x")
        except OSError:
            return  # full: it is roused already; closed: it has ended and its waiters poll no more than they must

    def stop(self) -> None:
        """End the thread and wait for it."""
        self._stopping = True
        self.rouse()
        self._thread.join()

    def _run(self) -> None:
        told = False
        try:
            while not self._stopping:
                try:
                    self._listen()
                    told = False
                    if self._stopping or self._may_end(self):
                        return
                except StorageError as error:
                    told = told and not self.ready.is_set()
                    self.ready.clear()
                    if not told:
                        told = True
                        _log.warning("Waiting for ends of runs goes on when PostgreSQL is back: %s", error)
                    self._pause()
        finally:
            self._stopping = True
            self._connection.close()
            self._roused.close()
            self._rouser.close()

    def _listen(self) -> None:
        """Until nobody has waited for a while."""
        self._connection.close()
        self._connection.listen(CHANNEL)
        self.ready.set()
        with selectors.DefaultSelector() as selector:
            selector.register(self._roused, selectors.EVENT_READ)
            selector.register(self._connection, selectors.EVENT_READ)
            waited_for, next_look = self._look(), self._clock.monotonic() + _LOOK_SECONDS
            while not self._stopping:
                patience = max(next_look - self._clock.monotonic(), 0) if waited_for else _IDLE_SECONDS
                ready = selector.select(patience)
                if not ready and not waited_for:
                    return
                if any(key.fileobj is self._roused for key, _ in ready):
                    self._drain()
                    waited_for = True
                if self._take_in() or self._clock.monotonic() >= next_look:
                    waited_for, next_look = self._look(), self._clock.monotonic() + _LOOK_SECONDS

    def _take_in(self) -> bool:
        """Tell those whose runs were named; True if everybody should look."""
        look = False
        for _, payload in self._connection.notifications():
            if payload:
                self._heard(payload.split(","))
            else:
                look = True
        return look

    def _drain(self) -> None:
        try:
            while self._roused.recv(4096):
                pass
        except BlockingIOError:
            return

    def _pause(self) -> None:
        """A second, unless it is stopped."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._roused, selectors.EVENT_READ)
            if not self._stopping:
                selector.select(_LOOK_SECONDS)
            self._drain()
