"""The circuit breaker, with a clock whose hands the test turns."""

from __future__ import annotations

import pytest

from highway_core.tools.circuit_breaker import BulkheadState, CircuitBreaker


class Hands:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def hands() -> Hands:
    return Hands()


def breaker_of(hands: Hands, failures: int = 3, successes: int = 2, isolation: float = 60.0) -> CircuitBreaker:
    return CircuitBreaker(failures, successes, isolation, "payments", monotonic=hands)


def fail(breaker: CircuitBreaker, times: int) -> None:
    for _ in range(times):
        assert breaker.is_request_allowed()
        breaker.record_failure()


def test_it_starts_healthy_and_lets_calls_through(hands: Hands) -> None:
    breaker = breaker_of(hands)
    assert breaker.get_state() is BulkheadState.HEALTHY
    assert breaker.is_request_allowed()


def test_one_failure_degrades_it_and_calls_still_go_through(hands: Hands) -> None:
    breaker = breaker_of(hands)
    fail(breaker, 1)
    assert breaker.get_state() is BulkheadState.DEGRADED
    assert breaker.is_request_allowed()


def test_enough_successes_in_a_row_make_a_degraded_one_healthy(hands: Hands) -> None:
    breaker = breaker_of(hands, successes=2)
    fail(breaker, 1)
    breaker.record_success()
    assert breaker.get_state() is BulkheadState.DEGRADED
    breaker.record_success()
    assert breaker.get_state() is BulkheadState.HEALTHY


def test_the_threshold_of_failures_in_a_row_isolates(hands: Hands) -> None:
    breaker = breaker_of(hands, failures=3)
    fail(breaker, 3)
    assert breaker.get_state() is BulkheadState.ISOLATED
    assert not breaker.is_request_allowed()
    assert breaker.seconds_until_trial() == 60.0


def test_a_success_in_between_starts_the_count_of_failures_again(hands: Hands) -> None:
    breaker = breaker_of(hands, failures=3)
    fail(breaker, 2)
    breaker.record_success()
    fail(breaker, 2)
    assert breaker.get_state() is BulkheadState.DEGRADED


def test_a_failure_in_between_starts_the_count_of_successes_again(hands: Hands) -> None:
    breaker = breaker_of(hands, successes=2)
    fail(breaker, 1)
    breaker.record_success()
    fail(breaker, 1)
    breaker.record_success()
    assert breaker.get_state() is BulkheadState.DEGRADED


def test_a_threshold_of_one_isolates_at_the_first_failure(hands: Hands) -> None:
    breaker = breaker_of(hands, failures=1)
    fail(breaker, 1)
    assert breaker.get_state() is BulkheadState.ISOLATED


def test_after_the_isolation_one_trial_call_goes_through_and_the_others_wait(hands: Hands) -> None:
    breaker = breaker_of(hands)
    fail(breaker, 3)
    hands.seconds += 59.9
    assert not breaker.is_request_allowed()
    hands.seconds += 0.1
    assert breaker.is_request_allowed()
    assert not breaker.is_request_allowed()
    assert breaker.get_state() is BulkheadState.DEGRADED


def test_success_threshold_trials_have_to_succeed_before_it_is_healthy(hands: Hands) -> None:
    breaker = breaker_of(hands, successes=2)
    fail(breaker, 3)
    hands.seconds += 60
    assert breaker.is_request_allowed()
    breaker.record_success()
    assert breaker.get_state() is BulkheadState.DEGRADED
    assert breaker.is_request_allowed()
    assert not breaker.is_request_allowed()
    breaker.record_success()
    assert breaker.get_state() is BulkheadState.HEALTHY
    assert breaker.is_request_allowed()
    assert breaker.is_request_allowed()


def test_a_failed_trial_isolates_again_for_the_whole_time(hands: Hands) -> None:
    breaker = breaker_of(hands)
    fail(breaker, 3)
    hands.seconds += 60
    fail(breaker, 1)
    assert breaker.get_state() is BulkheadState.ISOLATED
    hands.seconds += 59.9
    assert not breaker.is_request_allowed()
    assert breaker.get_stats()["isolations"] == 2


def test_a_trial_that_tells_nothing_frees_the_place_for_the_next(hands: Hands) -> None:
    breaker = breaker_of(hands)
    fail(breaker, 3)
    hands.seconds += 60
    assert breaker.is_request_allowed()
    breaker.record_nothing()
    assert breaker.is_request_allowed()


def test_a_trial_that_never_reports_does_not_block_for_ever(hands: Hands) -> None:
    breaker = breaker_of(hands)
    fail(breaker, 3)
    hands.seconds += 60
    assert breaker.is_request_allowed()
    hands.seconds += 60
    assert breaker.is_request_allowed()


@pytest.mark.parametrize("late", ["record_success", "record_failure"])
def test_the_late_answer_of_an_older_call_does_not_change_an_isolation(hands: Hands, late: str) -> None:
    breaker = breaker_of(hands)
    fail(breaker, 3)
    hands.seconds += 30
    getattr(breaker, late)()
    assert breaker.get_state() is BulkheadState.ISOLATED
    assert breaker.seconds_until_trial() == 30.0


def test_its_statistics_tell_state_and_counts(hands: Hands) -> None:
    breaker = breaker_of(hands)
    fail(breaker, 2)
    assert breaker.get_stats() == {
        "circuit_state": "degraded",
        "consecutive_failures": 2,
        "consecutive_successes": 0,
        "isolations": 0,
    }


def test_the_states_are_the_lower_case_words() -> None:
    assert [state.value for state in BulkheadState] == ["healthy", "degraded", "isolated", "failed"]


@pytest.mark.parametrize("bounds", [(0, 1, 1.0), (1, 0, 1.0), (1, 1, -1.0)])
def test_bounds_that_make_no_sense_are_refused_by_name(bounds: tuple[int, int, float]) -> None:
    with pytest.raises(ValueError, match="Circuit breaker 'payments'"):
        CircuitBreaker(*bounds, name="payments")
