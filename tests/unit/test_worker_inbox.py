"""What is posted to a worker's deciding thread is taken up, however much it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from highway_core.config import Settings
from highway_core.services.worker import Worker


def test_nothing_that_was_posted_is_dropped_where_a_turn_ends(tmp_path: Path) -> None:
    worker = Worker(Settings(database_url="postgresql+psycopg2://nobody@localhost/none", home=tmp_path))
    for number in range(1_700):
        worker._post("run", number)  # type: ignore[arg-type]
    taken: list[Any] = []
    for _ in range(5):
        inputs: dict[str, list[Any]] = {}
        worker._receive(inputs, None)
        taken += inputs.get("run", [])
    assert taken == list(range(1_700))
