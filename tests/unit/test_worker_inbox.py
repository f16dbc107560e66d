"""What is posted to a worker's deciding thread is taken up, however much it is."""

from __future__ import annotations

import threading
from pathlib import Path
from queue import Empty
from typing import Any

import pytest

from highway_core.config import Settings
from highway_core.engine.durable.inputs import Answer
from highway_core.engine.task_runner import Completed
from highway_core.services.inbox import Inbox
from highway_core.services.worker import Worker


def test_nothing_that_was_posted_is_dropped_where_a_turn_ends(tmp_path: Path) -> None:
    worker = Worker(Settings(database_url="postgresql+psycopg2://nobody@localhost/none", home=tmp_path))
    for number in range(1_700):
        worker._post("run", number)  # type: ignore[arg-type]
    taken: list[Any] = []
    for _ in range(5):
        inputs: dict[str, list[Any]] = {}
        worker._receive(inputs)
        taken += inputs.get("run", [])
    assert taken == list(range(1_700))


def answer(length: int) -> Any:
    outcome = Completed(None, "x" * length)
    return ("run", Answer(None, outcome))  # type: ignore[arg-type]


def test_large_results_do_not_pile_up_and_small_ones_never_wait() -> None:
    inbox = Inbox(most=10_000)
    inbox.post(answer(9_000))
    inbox.post(answer(9_000))
    waiting = threading.Thread(target=inbox.post, args=(answer(9_000),))
    waiting.start()
    inbox.post(answer(10))
    inbox.post(None)
    assert len(inbox) == 4
    assert waiting.is_alive()
    inbox.take()
    waiting.join(5)
    assert not waiting.is_alive()
    assert [inbox.take() is None for _ in range(4)] == [False, False, True, False]
    with pytest.raises(Empty):
        inbox.take()
