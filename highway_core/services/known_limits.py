"""What a worker knows of limits: what is limited may only be begun by a claim, and so is not taken over."""

from __future__ import annotations

from collections.abc import Sequence

from highway_core.engine.durable.driver import Driver
from highway_core.engine.durable.inputs import Answer
from highway_core.persistence.transition_store import TransitionStore
from highway_core.utils.clock import Clock

_SECONDS = 2.0
"""How old it may be."""


class KnownLimits:
    """Of who decides; any thread may ask whether they are fresh."""

    def __init__(self, store: TransitionStore, driver: Driver, queues: Sequence[str], clock: Clock) -> None:
        self._store = store
        self._driver = driver
        self._queues = queues
        self._clock = clock
        self._at = -_SECONDS

    @property
    def are_fresh(self) -> bool:
        return self._clock.monotonic() - self._at < _SECONDS

    def refresh(self) -> None:
        """Look, unless that was done lately. StorageError."""
        if not self.are_fresh:
            self._driver.limited = self._store.limited()
            self._at = self._clock.monotonic()

    def bind(self, answer: Answer) -> bool:
        """True if somebody may have waited for the place of that attempt."""
        name = answer.job.ask.tool.workflow_name
        return any((queue, name) in self._driver.limited for queue in self._queues)
