"""Hints to other processes: told by one thread alone, however many ask for it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, cast

from highway_core.persistence.durable_connection import DurableConnection
from highway_core.services.loop import Stop
from highway_core.services.worker_threads import Caller, Listener


class Heard:
    """A connection that keeps what it was told, and by whom."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.by: set[threading.Thread] = set()
        self.closed = False

    def run(self, sql: str, values: Sequence[Any]) -> int:
        self.told.append(tuple(values))
        self.by.add(threading.current_thread())
        return 1

    def close(self) -> None:
        self.closed = True


def test_what_is_asked_for_at_the_very_end_is_told_by_the_thread_that_owns_the_connection() -> None:
    heard, stop = Heard(), Stop()
    caller = Caller(cast(DurableConnection, heard), "me")
    stop.set()
    caller.call(["highway_work"], ["run-1"])
    thread = threading.Thread(target=caller.run, args=(stop,))
    thread.start()
    thread.join(10)
    assert heard.told == [("highway_work", "me"), ("highway_done", "run-1")]
    assert heard.by == {thread}
    assert heard.closed


class Called:
    """A connection over which others call, until the stop."""

    def __init__(self, *calls: str) -> None:
        self.calls = list(calls)
        self.stop = Stop()

    def listen(self, *channels: str) -> None:
        assert channels == ("highway_work",)

    def notifications(self) -> list[tuple[str, str]]:
        if not self.calls:
            self.stop.set()
            return []
        return [("highway_work", self.calls.pop(0))]

    def fileno(self) -> int:
        return self.stop.fileno() if self.stop.is_set() else self._readable()

    def _readable(self) -> int:
        """Something that never makes the listener wait."""
        other = Stop()
        other.set()
        self.readable = other
        return other.fileno()

    def close(self) -> None:
        pass


def test_a_listener_hears_everybody_but_its_own_worker_and_owes_the_others_a_courtesy() -> None:
    called = Called("me", "", "another", "me")
    told: list[str] = []

    def courtesy() -> float:
        told.append("after you")
        return 0.0

    listener = Listener(cast(DurableConnection, called), "me", lambda: told.append("heard"), courtesy)
    listener.run(called.stop)
    assert told == ["heard", "after you", "heard", "after you", "heard"]
