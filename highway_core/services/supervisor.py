"""Keeps the services of one machine up: starts them, passes on what they say, restarts what dies, and stops them.

One thread waits for everything at once: the children's output and ends, the moment of the next start, the stop. The
services know nothing of it but the lifeline (:mod:`.lifeline`): they are the same processes that an operator can start
one by one. The order of a stop does not matter to them either, so all are told at the same time.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable, Sequence
from typing import Protocol

from highway_core.errors import HighwayError
from highway_core.services.child_service import ChildService, RestartPolicy, ServiceSpec
from highway_core.services.loop import Backoff, Stop
from highway_core.utils.clock import Clock, SystemClock

_LOOK = 0.2
"""Seconds between two looks at readiness, and at children where the kernel does not report their end."""
_SERVER_LOOK = 1.0
_MARGIN = 5.0
"""Seconds beyond the services' own grace time before they are killed."""


class Server(Protocol):
    """What must run beneath the services, and is ours to keep running: the embedded PostgreSQL."""

    def is_running(self) -> bool: ...
    def start(self) -> object: ...
    def stop(self) -> None: ...


class Supervisor:
    """The services of one ``start-services``. :meth:`run` is called once; ``stop`` ends it in good order."""

    def __init__(  # noqa: PLR0913 - its parts; the services, the voice and the stop, the rest by keyword
        self,
        specs: Sequence[ServiceSpec],
        say: Callable[[str], None],
        stop: Stop,
        *,
        is_ready: Callable[[], bool],
        when_ready: Callable[[], None] = lambda: None,
        server: Server | None = None,
        grace: float = 30.0,
        policy: RestartPolicy | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._clock = clock or SystemClock()
        self._say = say
        self._children = [ChildService(spec, say, policy or RestartPolicy(), self._clock) for spec in specs]
        self._is_ready = is_ready
        self._when_ready = when_ready
        self._ready = False
        self._server = server
        self._server_look = 0.0
        self._server_backoff = Backoff()
        self._grace = grace
        self._stop = stop

    def run(self) -> int:
        """Until the stop is set or a service is given up; the exit code."""
        lifeline, held = os.pipe()
        try:
            while not self._stop.is_set() and not any(child.given_up for child in self._children):
                self._turn(lifeline)
            return self._drain()
        finally:
            self.kill()
            self._wait_for_ends(_MARGIN)
            for end in (lifeline, held):
                os.close(end)

    def kill(self) -> None:
        """End every service at once; from any thread."""
        for child in self._children:
            child.signal(signal.SIGKILL)

    def pids(self, prefix: str) -> list[int]:
        """The processes of the services whose names begin like that."""
        return [child.pid for child in self._children if child.pid is not None and child.name.startswith(prefix)]

    def _turn(self, lifeline: int) -> None:
        self._look_after_server()
        now = self._clock.monotonic()
        for child in self._children:
            if child.due is not None and child.due <= now:
                child.start(lifeline)
        self._announce()
        self._wait(self._next_look())
        for child in self._children:
            child.look(again=not self._stop.is_set())

    def _next_look(self) -> float:
        dues = [child.due for child in self._children if child.due is not None]
        wait = _SERVER_LOOK if self._ready else _LOOK
        return max(0.0, min([wait, *(due - self._clock.monotonic() for due in dues)]))

    def _wait(self, seconds: float) -> None:
        descriptors = [one for child in self._children for one in child.descriptors()]
        self._stop.wait(seconds, *descriptors)

    def _announce(self) -> None:
        if not self._ready and all(child.pid for child in self._children) and self._is_ready():
            self._ready = True
            self._when_ready()

    def _look_after_server(self) -> None:
        now = self._clock.monotonic()
        if self._server is None or now < self._server_look:
            return
        self._server_look = now + _SERVER_LOOK
        if self._server.is_running():
            self._server_backoff.reset()
            return
        self._say("The embedded PostgreSQL is gone; it is started again.")
        try:
            self._server.start()
        except HighwayError as error:
            self._say(f"It did not start: {error}")
        self._server_look = self._clock.monotonic() + self._server_backoff.pause()

    def _drain(self) -> int:
        """Let the services finish what they do; 1 if one was given up or had to be killed."""
        failed = any(child.given_up for child in self._children)
        running = [child for child in self._children if child.pid is not None]
        if running:
            self._say("Stopping: what is being worked on may finish. The same signal again stops at once.")
        for child in running:
            child.signal(signal.SIGTERM)
        if self._wait_for_ends(self._grace + _MARGIN):
            return 1 if failed else 0
        names = ", ".join(child.name for child in running if child.pid is not None)
        self._say(f"{names} did not stop in {self._grace + _MARGIN:g} s and is killed.")
        self.kill()
        self._wait_for_ends(_MARGIN)
        return 1

    def _wait_for_ends(self, seconds: float) -> bool:
        """True as soon as no service runs any more."""
        deadline = self._clock.monotonic() + seconds
        while running := [child for child in self._children if child.pid is not None]:
            left = deadline - self._clock.monotonic()
            if left <= 0:
                return False
            _wait_for([one for child in running for one in child.descriptors()], min(left, _LOOK))
            for child in running:
                child.look(again=False)
        return True


def _wait_for(descriptors: Sequence[int], seconds: float) -> None:
    """Until one of them has something to read, or the time is over. The stop, which is set, would end it at once."""
    poll = select.poll()
    for one in descriptors:
        poll.register(one, select.POLLIN)
    poll.poll(seconds * 1000)
