"""What a worker does about calls to the database whose answer got lost: nobody knows whether they were carried out.

What it had asked to be stored, it asks again: that is refused if it was stored the first time. But a claim that went
through, or a commit that took the next task over, has made rows that this worker holds and has never heard of. Nobody
else would begin them before their lease ends, so they are looked for: at once, and again when a call that was still
under way when its connection broke must be over.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from highway_core.engine.durable.inputs import Input, Message, Work
from highway_core.errors import StorageError
from highway_core.persistence.transition_store import Claim, TransitionStore
from highway_core.services.worker_hands import Held, WorkerHands
from highway_core.utils.clock import SystemClock

logger = logging.getLogger("HighwayWorker")

_SECOND_LOOK = 2.0
"""Seconds after which a call that was under way is over."""
_MOST_IN_A_ROW = 5
"""So often a lost connection is no reason to pause, as long as the database answers over a new one."""


class LostAnswers:
    """Of the deciding thread."""

    def __init__(self, store: TransitionStore, hands: WorkerHands, clock: SystemClock) -> None:
        self._store = store
        self._hands = hands
        self._clock = clock
        self._looks: list[float] = []
        """When to look (monotonic)."""
        self._in_a_row = 0

    def lost(self, *, progress: bool = False) -> bool:
        """An answer was lost, after some ``progress``. True if only the connection was: nothing is to be waited for."""
        now = self._clock.monotonic()
        self._looks = [now, now + _SECOND_LOOK]
        self._in_a_row = 1 if progress else self._in_a_row + 1
        if self._in_a_row > _MOST_IN_A_ROW:
            return False
        try:
            self._store.now()
        except StorageError:
            return False
        return True

    def came(self) -> None:
        """An answer came."""
        self._in_a_row = 0

    def seconds(self) -> float | None:
        """Until the next look."""
        return self._looks[0] - self._clock.monotonic() if self._looks else None

    def found(self, unsaved: Mapping[str, Sequence[Input]]) -> list[Claim]:
        """What was claimed for us without our learning it; what is still to be stored we know of, and also that it was
        no fault of its own if it has lost its lease meanwhile."""
        if not self._looks or self._looks[0] > self._clock.monotonic():
            return []
        ours = _claims_of(unsaved)
        self._store.excuse(ours)
        claims = self._store.adopt([*self._hands.known(), *ours])
        del self._looks[0]
        if claims:
            logger.info("%d claims had been made whose answer got lost", len(claims))
        return claims


def _claims_of(inputs: Mapping[str, Sequence[Input]]) -> list[Held]:
    claims = [one.claim for given in inputs.values() for one in given if isinstance(one, Work | Message)]
    return [(one.run_id, one.path, one.kind, one.fence) for one in claims]
