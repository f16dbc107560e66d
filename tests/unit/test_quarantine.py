"""Who is let into a worker beside tasks that may have killed one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from highway_core.engine.durable.driver import Driver
from highway_core.engine.durable.inputs import Input, Message, Work
from highway_core.lifecycle import QueueKind
from highway_core.persistence.transition_store import Claim, Lease, TransitionStore
from highway_core.services.quarantine import Quarantine
from highway_core.services.worker_hands import WorkerHands


class Store:
    """What was sent away, in order."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, list[str]]] = []

    def give_back(self, leases: Sequence[Lease]) -> None:
        self.sent.append(("at once", [path for _, path, _, _ in leases]))

    def postpone(self, leases: Sequence[Lease], seconds: float) -> None:
        self.sent.append(("later", [path for _, path, _, _ in leases]))
        assert seconds > 0


class Hands:
    """``ages`` by path: None has its answer, which is not committed."""

    def __init__(self) -> None:
        self.ages: dict[str, float | None] = {}

    def held(self) -> list[Lease]:
        return [("run", path, "work", 1) for path in self.ages]

    def age(self, lease: Lease) -> float | None:
        return self.ages.get(lease[1])


class Ward:
    """A quarantine where three losses are the end, its store and its hands."""

    def __init__(self) -> None:
        self.store = Store()
        self.hands = Hands()
        self.quarantine = Quarantine(cast(TransitionStore, self.store), cast(WorkerHands, self.hands), 3)

    def admit(self, *claims: Claim, waiting: Mapping[str, Sequence[Input]] | None = None) -> set[str]:
        """Their paths."""
        return {one.path for one in self.quarantine.admit(claims, waiting or {})}

    def carries(self, *paths: str, age: float | None = 0.0) -> None:
        self.hands.ages |= dict.fromkeys(paths, age)

    def commits(self, path: str) -> None:
        del self.hands.ages[path]


@pytest.fixture
def ward() -> Ward:
    return Ward()


def work(path: str, losses: int = 0) -> Claim:
    return Claim("run", path, QueueKind.WORK.value, 1, 1, losses, 1, None, None)


def message(path: str, losses: int = 0) -> Claim:
    return work(path, losses)._replace(kind=QueueKind.WAKE.value)


def waiting(*claims: Claim) -> dict[str, list[Input]]:
    return {"run": [Work(one) if one.kind == "work" else Message(one) for one in claims]}


def test_what_has_lost_nothing_comes_and_goes_as_it_likes(ward: Ward) -> None:
    assert ward.admit(work("a"), message("m", 2), work("b")) == {"a", "m", "b"}
    assert ward.quarantine.seconds() == 0
    assert ward.store.sent == []


@pytest.mark.parametrize("losses", [1, 2])
def test_nothing_more_is_taken_on_in_the_first_second_of_a_suspicious_task(ward: Ward, losses: int) -> None:
    claim = work("p", losses)
    assert ward.admit(claim) == {"p"}
    assert ward.quarantine.seconds(waiting(claim)) == 1
    ward.carries("p")
    assert ward.quarantine.seconds() == 1, "no thread has begun it"
    ward.carries("p", age=0.25)
    assert ward.quarantine.seconds() == 0.75
    ward.carries("p", age=1.0)
    assert ward.quarantine.seconds() == 0


def test_more_is_taken_on_as_soon_as_all_of_them_have_their_answers(ward: Ward) -> None:
    ward.admit(work("p", 1), work("q", 1))
    ward.carries("p", "q", age=0.5)
    ward.carries("p", age=None)
    assert ward.quarantine.seconds() == 0.5
    ward.carries("q", age=None)
    assert ward.quarantine.seconds() == 0


def test_a_suspicious_task_that_comes_to_nothing_holds_up_nobody(ward: Ward) -> None:
    claim = work("p", 1)
    ward.admit(claim)
    assert ward.quarantine.seconds(waiting(claim)) == 1
    assert ward.quarantine.seconds() == 0


def test_one_that_waits_in_another_turn_is_not_forgotten(ward: Ward) -> None:
    claim = work("p", 1)
    ward.admit(claim)
    assert ward.quarantine.seconds(waiting(work("other")), waiting(claim)) == 1
    assert ward.quarantine.seconds(waiting(claim)) == 1


def test_what_an_answer_that_was_lost_has_brought_meanwhile_goes_back(ward: Ward) -> None:
    ward.admit(work("p", 1))
    ward.carries("p", age=0.5)
    assert ward.admit(work("a"), message("m"), work("q", 1)) == set()
    assert ward.store.sent == [("at once", ["a", "m"]), ("later", ["q"])]
    ward.carries("p", age=2.0)
    assert ward.admit(work("a"), message("m"), work("q", 1)) == {"a", "m", "q"}


def test_what_is_claimed_with_a_last_chance_goes_back_before_it_begins(ward: Ward) -> None:
    claims = [work("a"), work("p", 2), message("m"), message("n", 1), work("q", 1), work("over", 3)]
    assert ward.admit(*claims) == {"p", "m"}
    assert ward.store.sent == [("at once", ["a", "n", "over"]), ("later", ["q"])]


def test_what_has_lost_something_is_not_decided_about_beside_a_suspicious_task(ward: Ward) -> None:
    claims = [work("p", 1), work("a"), work("q", 1), message("m"), message("n", 2), work("over", 3), work("last", 2)]
    assert ward.admit(*claims) == {"p", "q", "a", "m"}
    assert ward.store.sent == [("at once", ["n", "over"]), ("later", ["last"])]


def test_a_last_chance_does_not_begin_beside_what_has_lost_something(ward: Ward) -> None:
    ward.admit(work("q", 1))
    ward.carries("q", age=5.0)
    assert ward.admit(work("p", 2), work("a"), message("m", 2)) == {"a", "m"}
    ward.carries("q", age=None)
    assert ward.admit(work("p", 2)) == set(), "the answer is not committed"
    ward.commits("q")
    assert ward.admit(work("p", 2)) == {"p"}


def test_what_has_lost_something_does_not_begin_beside_a_last_chance(ward: Ward) -> None:
    ward.admit(work("p", 2))
    ward.carries("p", age=5.0)
    assert ward.admit(work("q", 1), work("r", 2), work("a"), message("m", 1)) == {"a", "m"}
    assert ward.store.sent == [("later", ["q", "r"])]
    ward.commits("p")
    assert ward.admit(work("q", 1)) == {"q"}


def test_a_last_chance_does_not_begin_beside_what_is_still_to_be_committed(ward: Ward) -> None:
    undone = waiting(message("n", 2))
    assert ward.admit(work("p", 2), waiting=undone) == set()
    assert ward.admit(work("p", 2)) == {"p"}


def test_one_that_is_admitted_and_not_begun_counts(ward: Ward) -> None:
    first = work("p", 2)
    ward.admit(first)
    assert ward.admit(work("q", 2), work("a"), waiting=waiting(first)) == set()
    assert ward.store.sent == [("at once", ["a"]), ("later", ["q"])]


@pytest.mark.parametrize(("takes_over", "places"), [(True, 3), (False, 0)])
def test_a_driver_that_takes_nothing_over_has_no_places(takes_over: bool, places: int) -> None:
    hands: Any = SimpleNamespace(free=lambda: 4)
    driver = Driver(cast(TransitionStore, None), cast(Any, None), hands, cast(Any, None))
    driver.takes_over = takes_over
    driver.begin_turn(1)
    assert driver.places == places
