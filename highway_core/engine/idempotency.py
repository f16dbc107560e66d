"""Idempotency keys of one LOCAL run: who works under which key, who waits for the result, and what was left under it.

The first task that takes a key holds it until it has its final status, retries included. Others wait: if the holder
completes they get what it left, otherwise the next of them holds the key and works himself.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

from highway_core.engine.run_records import RunRecorder
from highway_core.engine.run_state import Instance
from highway_core.engine.steps import Steps
from highway_core.engine.task_runner import Ask
from highway_core.lifecycle import TaskStatus
from highway_core.utils.json_values import dumps, loads


class KeyLoop(Protocol):
    """What the keys ask of the loop that drives the run."""

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Run ``action`` on the deciding thread when ``seconds`` have passed."""
        ...

    def idempotent(self, key: str) -> str | None:
        """What is stored under an idempotency key, or None."""
        ...


class LocalKeys:
    """What is left under a key is JSON: ``{"result": …, "taken": [arm, …]}``, the arms only where there are any."""

    def __init__(self, steps: Steps, recorder: RunRecorder, loop: KeyLoop) -> None:
        self._steps = steps
        self._recorder = recorder
        self._loop = loop
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
        left = self._left.get(key) or self._loop.idempotent(key)
        if left is None:
            self._waiting[key] = []
            self._held[instance] = key
        return left

    def holds(self, instance: Instance) -> bool:
        """True if the instance holds a key."""
        return instance in self._held

    def ended(self, instance: Instance) -> None:
        """If the instance held a key, what it left is stored, and those who wait for it go on."""
        key = self._held.pop(instance, None)
        if key is None:
            return
        if instance.status is TaskStatus.COMPLETED:
            self._left[key] = left_by(instance)
            self._recorder.idempotent(key, self._left[key])
        self._loop.after(0.0, partial(self._pass_on, key))

    def _pass_on(self, key: str) -> None:
        stored = self._left.get(key)
        waiting = self._still_waiting(key)
        if stored is not None:
            for one, _ in waiting:
                self._steps.complete_as(one, stored)
        elif waiting:
            (first, ask), *others = waiting
            self._held[first] = key
            self._waiting[key] = others
            first.stop = ask.tool.stop
            self._steps.carry_out(first, ask)

    def _still_waiting(self, key: str) -> list[tuple[Instance, Ask]]:
        """Those whose attempt was not given up in the meantime."""
        return [(one, ask) for one, ask in self._waiting.pop(key) if one.is_open and one.epoch == ask.fence]


def left_by(instance: Instance) -> str:
    """What a completed task leaves under its key."""
    left = {"result": loads(instance.result_text or "null")}
    if instance.taken is not None:
        left["taken"] = sorted(instance.taken)
    return dumps(left)
