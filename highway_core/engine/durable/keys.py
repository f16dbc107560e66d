"""Idempotency keys of DURABLE mode: who works under a key, and what was left under it, is in the database.

The first task that asks inserts the key and holds it; its end stores what it left, or lets the key go. Another task
that asks meanwhile comes again after a moment, without that counting as an attempt.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

from highway_core.engine.idempotency import left_by
from highway_core.engine.run_state import Instance
from highway_core.engine.task_runner import Ask
from highway_core.lifecycle import TaskStatus

if TYPE_CHECKING:
    from highway_core.engine.durable.image import Image

_MOMENT = timedelta(seconds=0.2)


class KeyStore(Protocol):
    def take_key(self, key: str, run_id: str, path: str) -> tuple[str | None, bool]: ...


class DurableKeys:
    """The keys of one image."""

    def __init__(self, image: Image, store: KeyStore) -> None:
        self._image = image
        self._store = store

    def take(self, key: str, instance: Instance, ask: Ask) -> str | None:  # noqa: ARG002 - LOCAL mode keeps the ask
        image = self._image
        left, mine = self._store.take_key(key, image.run_id, instance.path)
        if left is None and mine:
            instance.key = key
            image.changes.touch(instance)  # whoever hears the answer must know that there is a key to let go of
        elif left is None:
            image.steps.wait_for_key(instance, image.run.now() + _MOMENT)
        return left

    def holds(self, instance: Instance) -> bool:
        return instance.key is not None

    def ended(self, instance: Instance) -> None:
        if instance.key is not None:
            left = left_by(instance) if instance.status is TaskStatus.COMPLETED else None
            self._image.changes.add("left", t=instance.path, k=instance.key, v=left)
