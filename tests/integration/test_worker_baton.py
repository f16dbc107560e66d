"""A worker whose threads decide over their own answers while its deciding thread waits."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from highway_core.errors import StorageError
from tests.durable_workers import Workers, held, workers

STEPS = 60


@pytest.fixture
def one_worker(durable_url: str, tmp_path: Path) -> Iterator[Workers]:
    with workers(durable_url, tmp_path, 1, poll_seconds=30.0, lease_seconds=2.0) as opened:
        yield opened


def chain(steps: int) -> dict[str, Any]:
    links = {f"t{n}": held(f"t{n}", 0.001) | {"dependencies": [f"t{n - 1}"]} for n in range(1, steps)}
    return {"t0": held("t0", 0.001)} | links


def fail_once(working: Workers, monkeypatch: pytest.MonkeyPatch, error: Exception) -> list[str]:
    """Let the first turn on a task's thread go wrong; the names of the threads that it happened on."""
    desk = working.workers[0]._desk
    process = desk.process
    failed: list[str] = []

    def failing(inputs: Any, *more: Any) -> Any:
        name = threading.current_thread().name
        if name.startswith("highway-task") and not failed:
            failed.append(name)
            desk.undone = dict(inputs)
            raise error
        return process(inputs, *more)

    monkeypatch.setattr(desk, "process", failing)
    return failed


def test_a_chain_needs_fewer_turns_of_the_deciding_thread_than_it_has_steps(
    one_worker: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = one_worker.workers[0]._desk
    process = desk.process
    deciding: list[str] = []

    def noted(*given: Any) -> Any:
        deciding.append(threading.current_thread().name)
        return process(*given)

    monkeypatch.setattr(desk, "process", noted)
    assert one_worker.ended(one_worker.submit(chain(STEPS))) == ["completed"]
    assert len(deciding) >= STEPS
    assert sum(name.startswith("highway-task") for name in deciding) > STEPS / 2


def test_an_error_that_nobody_foresaw_is_told_and_ends_neither_the_worker_nor_the_run(
    one_worker: Workers, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failed = fail_once(one_worker, monkeypatch, RuntimeError("a defect"))
    bad = one_worker.submit(chain(STEPS))
    assert one_worker.ended(bad) == ["completed"]
    assert failed
    assert "a defect" in caplog.text
    assert one_worker.ended(one_worker.submit(chain(3))) == ["completed"]


def test_an_answer_that_could_not_be_stored_is_stored_by_the_deciding_thread(
    one_worker: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = fail_once(one_worker, monkeypatch, StorageError("The disk is full."))
    assert one_worker.ended(one_worker.submit(chain(STEPS))) == ["completed"]
    assert failed
