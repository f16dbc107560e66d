"""The hands of a worker: how much they take on, what they let others have, and what they tell."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from highway_core.engine.durable.inputs import Answer, TimedOut
from highway_core.engine.durable.services import Job
from highway_core.errors import ConnectionLostError
from highway_core.services import worker_hands
from highway_core.services.worker_hands import WorkerHands
from highway_core.utils.stopping import StopScope
from tests.waiting import eventually

NOW = datetime(2030, 1, 1, tzinfo=UTC)


class Runner:
    """Begins tasks and ends them when it is told to; ``quick`` ones end by themselves."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.go_on = threading.Event()

    def run(self, ask: Any) -> str:
        self.begun.append(ask.path)
        if ask.path.startswith("quick away") and len(self.begun) < 3:
            raise ConnectionLostError("The database is away.")
        if not ask.path.startswith("quick"):
            self.go_on.wait(10)
        return "done"


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


class Bench:
    """Hands with one thread, and what they have told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = Clock()
        monkeypatch.setattr(worker_hands, "SystemClock", lambda: self.clock)
        self.runner = Runner()
        self.told: list[Any] = []
        self.hands = WorkerHands(self.runner, 1, ["default"], lambda _run, told: self.told.append(told))  # type: ignore[arg-type]

    def give(self, path: str, fence: int = 1, seconds: float | None = None) -> Job:
        ask: Any = SimpleNamespace(path=path, fence=fence, now=NOW, tool=SimpleNamespace(stop=StopScope()))
        job = Job("run", path, ask, None if seconds is None else NOW + timedelta(seconds=seconds), True)
        self.hands.carry_out(job)
        return job


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    made = Bench(monkeypatch)
    yield made
    made.runner.go_on.set()
    made.hands.close()


def test_long_tasks_are_taken_on_one_a_thread(bench: Bench) -> None:
    assert bench.hands.free() == 1
    bench.give("long")
    assert bench.hands.free() == 0
    assert not bench.hands.has_room()


def test_many_short_tasks_are_taken_on_ahead(bench: Bench) -> None:
    for number in range(60):
        job = bench.give(f"quick{number}")
        assert eventually(lambda number=number: len(bench.told) == number + 1)
        bench.hands.answered(Answer(job, bench.told[-1].outcome))
    assert bench.hands.free() > 10


def test_what_waits_for_a_thread_for_too_long_is_given_to_others(bench: Bench) -> None:
    bench.give("long")
    assert eventually(lambda: bench.runner.begun == ["long"])
    bench.give("behind")
    assert bench.hands.overdue() == []
    assert bench.hands.expire() == 1.0
    bench.clock.seconds = 1.0
    assert bench.hands.overdue() == [("run", "behind", "work", 1)]
    assert bench.hands.held() == [("run", "long", "work", 1)]
    bench.runner.go_on.set()
    assert eventually(lambda: len(bench.told) == 1)
    assert bench.runner.begun == ["long"]


def test_a_newer_attempt_at_the_same_task_is_not_given_away_with_an_older_one(bench: Bench) -> None:
    bench.give("long")
    assert eventually(lambda: bench.runner.begun == ["long"])
    bench.give("behind", fence=1)
    bench.clock.seconds = 0.5
    bench.give("behind", fence=3)
    bench.clock.seconds = 1.0
    assert bench.hands.overdue() == []
    assert ("run", "behind", "work", 3) in bench.hands.held()


def test_an_attempt_that_outlives_its_timeout_is_told_of_once(bench: Bench) -> None:
    bench.give("long", fence=7, seconds=2.0)
    assert eventually(lambda: bench.runner.begun == ["long"])
    assert bench.hands.expire() == 2.0
    bench.clock.seconds = 2.0
    bench.hands.expire()
    bench.hands.expire()
    assert bench.told == [TimedOut("long", 7)]


def test_what_was_stopped_does_not_answer(bench: Bench) -> None:
    job = bench.give("long")
    assert eventually(lambda: bench.runner.begun == ["long"])
    bench.hands.stop("run", "long", 1, "cancelled", kill=False)
    bench.runner.go_on.set()
    bench.give("quick")
    assert eventually(lambda: len(bench.told) == 1)
    assert bench.told[0].job.path == "quick"
    assert not job.ask.tool.stop.stopped


def test_an_attempt_that_cannot_read_what_it_refers_to_waits_for_the_database(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_hands, "_PAUSE", 0.0)
    bench.give("quick away")
    assert eventually(lambda: bool(bench.told))
    assert (bench.told[0].outcome, len(bench.runner.begun)) == ("done", 3)


def test_who_decides_over_its_own_answer_goes_on_with_what_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch)
    threads: list[int] = []

    def told(_run: str, answer: Any) -> None:
        threads.append(threading.get_ident())
        bench.hands.answered(answer)
        if len(threads) < 3:
            bench.give(f"quick {len(threads)}")
        bench.told.append(answer)

    bench.hands = WorkerHands(bench.runner, 4, ["default"], told)  # type: ignore[arg-type]
    bench.give("quick 0")
    assert eventually(lambda: len(bench.told) == 3)
    assert len(set(threads)) == 1
    assert bench.runner.begun == ["quick 0", "quick 1", "quick 2"]
    assert not bench.hands.unfinished()
    bench.hands.close()


def test_what_was_given_up_before_its_thread_went_on_with_it_is_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch)

    def told(_run: str, answer: Any) -> None:
        bench.hands.answered(answer)
        bench.told.append(answer)
        if len(bench.told) == 1:
            job = bench.give("quick given up")
            bench.hands.give_up([("run", job.path, "work", 1)], "its lease is lost")

    bench.hands = WorkerHands(bench.runner, 1, ["default"], told)  # type: ignore[arg-type]
    bench.give("quick 0")
    assert eventually(lambda: len(bench.told) == 1)
    bench.give("quick 1")
    assert eventually(lambda: len(bench.told) == 2)
    assert bench.runner.begun == ["quick 0", "quick 1"]
    bench.hands.close()


def test_the_age_of_an_attempt_counts_from_when_a_thread_begins_it_to_its_answer(bench: Bench) -> None:
    first, second = ("run", "long", "work", 1), ("run", "behind", "work", 2)
    bench.clock.seconds = 10.0
    bench.give("long")
    assert eventually(lambda: bench.runner.begun == ["long"])
    bench.give("behind", fence=2)
    bench.clock.seconds = 10.5
    assert (bench.hands.age(first), bench.hands.age(second)) == (0.5, 0.0)
    assert bench.hands.age(("run", "long", "work", 2)) is None
    bench.runner.go_on.set()
    assert eventually(lambda: len(bench.told) == 2)
    assert (bench.hands.age(first), bench.hands.age(second)) == (None, None)
