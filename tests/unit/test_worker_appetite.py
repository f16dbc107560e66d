"""When a worker looks for something to claim, with a clock whose hands the test turns."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from highway_core.services.worker_appetite import Appetite

POLL = 5.0


class Hands:
    """A clock, and threads that are free or not."""

    def __init__(self) -> None:
        self.seconds = 1000.0
        self.room = True
        self.held_back = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest.fixture
def appetite(hands: Hands) -> Appetite:
    """Of a worker that has just looked and found nothing."""
    one = Appetite(hands, lambda: hands.room, lambda: hands.held_back)
    assert one.is_there(POLL)
    one.looks()
    one.found(0, work_left=False, again=None)
    assert not one.is_there(POLL)
    return one


def test_it_looks_when_it_is_called_and_once(appetite: Appetite) -> None:
    appetite.call()
    assert appetite.is_there(POLL)
    appetite.looks()
    assert not appetite.is_there(POLL)


def test_a_call_that_comes_while_it_looks_is_for_the_next_time(appetite: Appetite) -> None:
    appetite.looks()
    appetite.call()
    appetite.found(0, work_left=False, again=None)
    assert appetite.is_there(POLL)


def test_it_looks_once_in_a_while_though_nobody_calls(appetite: Appetite, hands: Hands) -> None:
    hands.seconds += 2
    assert appetite.seconds(POLL) == 3
    hands.seconds += 3
    assert appetite.is_there(POLL)


def test_what_was_left_is_looked_for_when_there_is_room(appetite: Appetite, hands: Hands) -> None:
    appetite.found(0, work_left=True, again=None)
    hands.room = False
    assert not appetite.is_there(POLL)
    hands.room = True
    assert appetite.is_there(POLL)


def test_it_looks_when_a_rate_lets_more_through(appetite: Appetite, hands: Hands) -> None:
    appetite.found(0, work_left=False, again=0.25)
    assert appetite.seconds(POLL) == 0.25
    assert not appetite.is_there(POLL)
    hands.seconds += 0.25
    assert appetite.is_there(POLL)
    appetite.looks()
    assert appetite.seconds(POLL) == POLL


def test_a_rate_that_comes_at_once_leaves_a_pause(appetite: Appetite) -> None:
    appetite.found(0, work_left=False, again=0)
    assert 0 < appetite.seconds(POLL) <= 0.1


def called_in_vain(appetite: Appetite) -> None:
    appetite.hear()
    appetite.looks()
    appetite.found(0, work_left=False, again=None)


def test_who_came_in_vain_when_all_were_called_lets_the_others_go_first(appetite: Appetite) -> None:
    assert appetite.courtesy() == 0
    called_in_vain(appetite)
    assert 0 < appetite.courtesy() < 0.05
    assert not appetite.is_there(POLL)
    appetite.hear()
    assert appetite.is_there(POLL)


def test_a_look_in_vain_that_nobody_had_called_for_makes_nobody_wait(appetite: Appetite) -> None:
    appetite.looks()
    appetite.found(0, work_left=False, again=None)
    appetite.call()
    appetite.looks()
    appetite.found(0, work_left=False, again=None)
    assert appetite.courtesy() == 0


def test_who_found_something_runs_at_once(appetite: Appetite) -> None:
    called_in_vain(appetite)
    appetite.looks()  # at the next poll
    appetite.found(1, work_left=False, again=None)
    assert appetite.courtesy() == 0


def test_it_does_not_look_while_it_is_held_back_and_forgets_no_call(appetite: Appetite, hands: Hands) -> None:
    hands.held_back = 0.75
    appetite.call()
    assert not appetite.is_there(POLL)
    assert appetite.seconds(POLL) == 0.75
    hands.held_back = 0.0
    assert appetite.is_there(POLL)
    assert appetite.seconds(POLL) == 0


def test_it_is_held_back_from_what_is_due_and_from_what_was_left_too(appetite: Appetite, hands: Hands) -> None:
    hands.held_back = 0.75
    hands.seconds += 2 * POLL
    assert (appetite.is_there(POLL), appetite.seconds(POLL)) == (False, 0.75)
    appetite.looks()
    appetite.found(0, work_left=True, again=None)
    assert (appetite.is_there(POLL), appetite.seconds(POLL)) == (False, 0.75)
    hands.held_back = 0.0
    assert appetite.is_there(POLL)
