"""When a worker looks for something to claim: when it is called, when there was more, when a limit lets more through,
and once in a while anyway, because a call can get lost; never while it is held back."""

from __future__ import annotations

import math
from collections.abc import Callable

from highway_core.utils.clock import Clock

_SOONEST_SECONDS = 0.01
"""The shortest pause between two claims that only a rate makes necessary."""
_COURTESY = 0.005
"""Seconds that a worker lets the others go first who came in vain the last time that all were called. For one lone run
that all of them ran for, the one that gets it has the machine and the database to itself."""


class Appetite:
    """Belongs to who decides; others only call :meth:`call` and :meth:`hear`, and ask for their :meth:`courtesy`."""

    def __init__(self, clock: Clock, has_room: Callable[[], bool], held_back: Callable[[], float]) -> None:
        self._clock = clock
        self._has_room = has_room
        self._held_back = held_back
        """For how many seconds it must not look."""
        self._called = True
        self._work_left = True
        """There may be work that had no free thread when it was looked for."""
        self._looked_at = 0.0
        self._again_at = math.inf
        """When a rate lets more through (monotonic)."""
        self._heard = self._follows_call = self._in_vain = False

    def call(self) -> None:
        """There is something to claim, or may be."""
        self._called = True

    def hear(self) -> None:
        """All workers are called."""
        self._called = self._heard = True

    def courtesy(self) -> float:
        """Seconds to wait when all are called, before :meth:`hear`."""
        return _COURTESY if self._in_vain else 0.0

    def is_there(self, poll_interval: float) -> bool:
        """True if it is time to look."""
        return self.seconds(poll_interval) <= 0

    def seconds(self, poll_interval: float) -> float:
        """How long one may do something else if nobody calls; not more than the interval, unless it is held back."""
        if self._called or (self._work_left and self._has_room()):
            return self._held_back()
        return max(min(self._looked_at + poll_interval, self._again_at) - self._clock.monotonic(), self._held_back())

    def looks(self) -> None:
        """Now; whoever calls from here on calls for the next time."""
        self._follows_call, self._heard = self._heard, False
        self._called = False
        self._again_at = math.inf
        self._looked_at = self._clock.monotonic()

    def found(self, amount: int, *, work_left: bool, again: float | None) -> None:
        """What the look has brought; ``again``: in how many seconds a rate lets more through."""
        self._in_vain = not amount and (self._in_vain or self._follows_call)
        self._work_left = work_left
        if again is not None:
            self._again_at = self._clock.monotonic() + max(_SOONEST_SECONDS, again)
