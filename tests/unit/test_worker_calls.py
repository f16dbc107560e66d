"""Hints to other processes: told by one thread alone, however many ask for it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, cast

from highway_core.persistence.durable_connection import DurableConnection
from highway_core.services.loop import Stop
from highway_core.services.worker_threads import Caller


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
    caller = Caller(cast(DurableConnection, heard))
    stop.set()
    caller.call(["highway_work"], ["run-1"])
    thread = threading.Thread(target=caller.run, args=(stop,))
    thread.start()
    thread.join(10)
    assert heard.told == [("highway_work",), ("highway_done", "run-1")]
    assert heard.by == {thread}
    assert heard.closed
