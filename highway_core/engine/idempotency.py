"""Idempotency keys of one LOCAL run: who works under which key, who waits for the result, and what was left under it.

The first task that takes a key holds it until it has its final status, retries included. Others wait: if the holder
completes they get what it left, otherwise the next of them holds the key and works himself.
"""

from __future__ import annotations

from collections.abc import Callable

from highway_core.engine.run_state import Instance
from highway_core.engine.task_runner import Ask
from highway_core.lifecycle import TaskStatus
from highway_core.utils.json_values import dumps, loads


class IdempotencyKeys:
    """What is left under a key is JSON: ``{"result": …, "taken": [arm, …]}``, the arms only where there are any."""

    def __init__(self, stored: Callable[[str], str | None]) -> None:
        self._stored = stored
        self._held: dict[Instance, str] = {}
        self._waiting: dict[str, list[tuple[Instance, Ask]]] = {}
        self._left: dict[str, str] = {}
        """What this run left, which the store may not hold yet."""

    def take(self, key: str, instance: Instance, ask: Ask) -> str | None:
        """What is left under ``key``. If that is nothing, the instance now holds the key, or waits for its holder."""
        if self._held.get(instance) == key:
            return None  # a further attempt of the holder
        if key in self._waiting:
            self._waiting[key].append((instance, ask))
            instance.stop = None
            return None
        left = self._left.get(key) or self._stored(key)
        if left is None:
            self._waiting[key] = []
            self._held[instance] = key
        return left

    def holds(self, instance: Instance) -> bool:
        """True if the instance holds a key."""
        return instance in self._held

    def leave(self, instance: Instance) -> str | None:
        """The instance has ended; the key that it held, under which its result is left if it was completed."""
        key = self._held.pop(instance, None)
        if key is not None and instance.status is TaskStatus.COMPLETED:
            left = {"result": loads(instance.result_text or "null")}
            if instance.taken is not None:
                left["taken"] = sorted(instance.taken)
            self._left[key] = dumps(left)
        return key

    def left_under(self, key: str) -> str | None:
        """What this run left under ``key``."""
        return self._left.get(key)

    def all_waiting(self, key: str) -> list[Instance]:
        """Everyone who still waits for ``key``; they wait no longer."""
        return [one for one, _ in self._still_waiting(key)]

    def next_holder(self, key: str) -> tuple[Instance, Ask] | None:
        """The next who holds ``key``, with the question that he was asked; None if nobody waits for it."""
        waiting = self._still_waiting(key)
        if not waiting:
            return None
        (first, ask), *others = waiting
        self._held[first] = key
        self._waiting[key] = others
        first.stop = ask.tool.stop
        return first, ask

    def _still_waiting(self, key: str) -> list[tuple[Instance, Ask]]:
        """Those whose attempt was not given up in the meantime."""
        return [(one, ask) for one, ask in self._waiting.pop(key) if one.is_open and one.epoch == ask.fence]
