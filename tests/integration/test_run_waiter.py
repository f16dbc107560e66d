"""Threads that wait for the end of runs hear of it at once, and without notifications within a second."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest

from highway_core.lifecycle import RunMode, RunStatus
from highway_core.persistence.durable_connection import ConnectionPool, DurableConnection
from highway_core.persistence.run_reads import RunReads
from highway_core.persistence.run_waiter import CHANNEL, RunWaiter
from highway_core.persistence.schema import require_schema
from tests.waiting import eventually


class Runs:
    """Runs that end when a test says so, and their waiter."""

    def __init__(self, url: str) -> None:
        require_schema(url)
        self.url = url
        self.connection = DurableConnection(url)
        self.pool = ConnectionPool(url)
        self.looks = 0
        reads = RunReads(self.pool)

        def statuses(run_ids: Any) -> Any:
            self.looks += 1
            return reads.statuses(run_ids)

        self.waiter = RunWaiter(url, statuses)

    def new(self) -> str:
        run_id = str(uuid4())
        self.connection.run(
            "INSERT INTO workflows (workflow_id, workflow_name, mode, status, start_time, updated_at, owner)"
            " VALUES (%s, 'w', %s, %s, now(), now(), '')",
            (run_id, RunMode.DURABLE.value, RunStatus.RUNNING.value),
        )
        return run_id

    def end(self, run_id: str, notify: str | None = None) -> None:
        self.connection.run(
            "UPDATE workflows SET status = %s WHERE workflow_id = %s", (RunStatus.COMPLETED.value, run_id)
        )
        if notify is not None:
            self.connection.run("SELECT pg_notify(%s, %s)", (CHANNEL, notify))

    @contextmanager
    def waiting(self, run_id: str, seconds: float = 30) -> Iterator[Callable[[], tuple[bool, float]]]:
        """Wait in another thread; yields what joins it: the answer, and when it came."""
        answers: list[tuple[bool, float]] = []
        thread = threading.Thread(
            target=lambda: answers.append((self.waiter.wait_for_end(run_id, seconds), time.monotonic()))
        )
        looked = self.looks
        thread.start()

        def joined() -> tuple[bool, float]:
            thread.join(40)
            return answers[0]

        assert eventually(lambda: self.looks > looked or not thread.is_alive())
        yield joined
        thread.join(40)

    def listeners(self) -> list[int]:
        rows = self.connection.fetch("SELECT pid FROM pg_stat_activity WHERE application_name = 'highway-waiter'")
        return [row[0] for row in rows if row[0] is not None]


@pytest.fixture
def runs(postgres_url: str) -> Iterator[Runs]:
    runs = Runs(postgres_url)
    yield runs
    runs.waiter.close()
    runs.pool.close()
    runs.connection.close()


def test_a_run_that_has_ended_is_not_waited_for(runs: Runs) -> None:
    run_id = runs.new()
    runs.end(run_id)
    start = time.monotonic()
    assert runs.waiter.wait_for_end(run_id, 30) is True
    assert time.monotonic() - start < 5


def test_a_run_that_goes_on_or_does_not_exist_is_waited_for_no_longer_than_asked(runs: Runs) -> None:
    assert runs.waiter.wait_for_end(runs.new(), 0.05) is False
    assert runs.waiter.wait_for_end(runs.new(), 0) is False
    start = time.monotonic()
    assert runs.waiter.wait_for_end("nobody", 30) is False
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("others", ["", ",other", "other,"])
def test_a_notified_end_wakes_who_waits_for_it_at_once(runs: Runs, others: str) -> None:
    ended = []
    for _ in range(20):
        run_id = runs.new()
        with runs.waiting(run_id) as joined:
            end = time.monotonic()
            runs.end(run_id, f"{others}{run_id}" if others.endswith(",") else f"{run_id}{others}")
            answer, at = joined()
        assert answer is True
        ended.append(at - end)
    assert sorted(ended)[10] < 0.2, "by polling the median would be half a second"


def test_a_notification_that_names_nothing_makes_everybody_look(runs: Runs) -> None:
    times = []
    for _ in range(10):
        first, second = runs.new(), runs.new()
        with runs.waiting(first) as one, runs.waiting(second, 0.3) as other:
            start = time.monotonic()
            runs.end(first, "")
            answer, at = one()
            assert answer is True
            times.append(at - start)
            assert other()[0] is False
    assert sorted(times)[5] < 0.2


def test_an_end_that_nobody_notified_is_found_within_about_a_second(runs: Runs) -> None:
    run_id = runs.new()
    with runs.waiting(run_id) as joined:
        start = time.monotonic()
        runs.end(run_id)
        answer, at = joined()
    assert answer is True
    assert at - start < 5


def test_any_number_of_threads_share_one_connection(runs: Runs) -> None:
    run_id, other = runs.new(), runs.new()
    with runs.waiting(run_id) as a, runs.waiting(run_id) as b, runs.waiting(run_id) as c, runs.waiting(other, 0.1) as d:
        assert len(runs.listeners()) == 1
        runs.end(run_id, run_id)
        assert [a()[0], b()[0], c()[0], d()[0]] == [True, True, True, False]


def test_a_lost_connection_is_opened_again_and_nothing_is_missed(runs: Runs) -> None:
    run_id = runs.new()
    with runs.waiting(run_id) as joined:
        (before,) = runs.listeners()
        runs.connection.run("SELECT pg_terminate_backend(%s)", (before,))
        runs.end(run_id)
        assert joined()[0] is True
    again = runs.new()
    with runs.waiting(again) as joined:
        assert eventually(lambda: runs.listeners() not in ([], [before]))
        runs.end(again, again)
        assert joined()[0] is True


def test_a_closed_waiter_listens_again_when_somebody_waits(runs: Runs) -> None:
    runs.waiter.close()
    run_id = runs.new()
    with runs.waiting(run_id) as joined:
        runs.end(run_id, run_id)
        assert joined()[0] is True
    runs.waiter.close()
    assert eventually(lambda: runs.listeners() == [])
