"""The case table of readiness. DURABLE mode's SQL is held against the same rows."""

from __future__ import annotations

import itertools

import pytest

from highway_core.engine.models import JoinMode, TriggerRule
from highway_core.engine.readiness import Answer, Arrivals, CallbackRule, Rule, Verdict, Via, decide_ready

S, F, K = Answer.SUCCEEDED, Answer.FAILED, Answer.SKIPPED
RUN, SKIP, FAIL, WAIT = Verdict.RUN, Verdict.SKIP, Verdict.FAIL_UPSTREAM, Verdict.WAIT

ROWS: list[tuple[Rule, int, tuple[Answer, ...], Verdict]] = [
    # rule, number of predecessors, the answers so far in order, the verdict
    (TriggerRule.ALL_SUCCESS, 0, (), RUN),
    (TriggerRule.ALL_SUCCESS, 2, (), WAIT),
    (TriggerRule.ALL_SUCCESS, 2, (S,), WAIT),
    (TriggerRule.ALL_SUCCESS, 2, (S, S), RUN),
    (TriggerRule.ALL_SUCCESS, 2, (S, K), RUN),
    (TriggerRule.ALL_SUCCESS, 2, (K, K), SKIP),
    (TriggerRule.ALL_SUCCESS, 2, (F,), FAIL),
    (TriggerRule.ALL_SUCCESS, 2, (K, F), FAIL),
    (TriggerRule.ALL_SUCCESS, 2, (S, F), FAIL),
    (TriggerRule.ALL_DONE, 2, (F,), WAIT),
    (TriggerRule.ALL_DONE, 2, (F, F), RUN),
    (TriggerRule.ALL_DONE, 2, (K, K), RUN),
    (TriggerRule.ALL_DONE, 2, (S, F), RUN),
    (TriggerRule.ONE_SUCCESS, 2, (S,), RUN),
    (TriggerRule.ONE_SUCCESS, 2, (F,), WAIT),
    (TriggerRule.ONE_SUCCESS, 2, (K,), WAIT),
    (TriggerRule.ONE_SUCCESS, 2, (F, K), FAIL),
    (TriggerRule.ONE_SUCCESS, 2, (K, K), SKIP),
    (TriggerRule.ONE_SUCCESS, 0, (), RUN),
    (TriggerRule.ONE_DONE, 2, (F,), RUN),
    (TriggerRule.ONE_DONE, 2, (S,), RUN),
    (TriggerRule.ONE_DONE, 2, (K,), WAIT),
    (TriggerRule.ONE_DONE, 2, (K, K), SKIP),
    (TriggerRule.ONE_DONE, 0, (), RUN),
    (TriggerRule.NONE_FAILED, 2, (S,), WAIT),
    (TriggerRule.NONE_FAILED, 2, (S, K), RUN),
    (TriggerRule.NONE_FAILED, 2, (K, K), RUN),
    (TriggerRule.NONE_FAILED, 2, (F,), FAIL),
    (JoinMode.ALL_OF, 2, (F,), WAIT),
    (JoinMode.ALL_OF, 2, (F, F), RUN),
    (JoinMode.ALL_OF, 2, (K, S), RUN),
    (JoinMode.ALL_OF, 2, (K, K), SKIP),
    (JoinMode.ANY_OF, 2, (S,), RUN),
    (JoinMode.ANY_OF, 2, (F,), FAIL),
    (JoinMode.ANY_OF, 3, (K, F, S), FAIL),
    (JoinMode.ANY_OF, 2, (K, S), RUN),
    (JoinMode.ANY_OF, 2, (K, K), SKIP),
    (JoinMode.ALL_SUCCESS, 2, (F,), FAIL),
    (JoinMode.ALL_SUCCESS, 2, (S, S), RUN),
    (JoinMode.ONE_SUCCESS, 2, (F, S), RUN),
    (JoinMode.ONE_SUCCESS, 2, (F, F), FAIL),
    (CallbackRule.CALLBACK, 1, (S,), RUN),
    (CallbackRule.CALLBACK, 2, (K,), WAIT),
    (CallbackRule.CALLBACK, 2, (K, K), SKIP),
]


@pytest.mark.parametrize(("rule", "count", "answers", "verdict"), ROWS)
def test_the_verdict_follows_from_rule_and_answers(
    rule: Rule, count: int, answers: tuple[Answer, ...], verdict: Verdict
) -> None:
    arrivals = Arrivals(main=count)
    for answer in answers:
        arrivals.count(Via.MAIN, answer)
    assert decide_ready(rule, arrivals) is verdict


@pytest.mark.parametrize("rule", [*TriggerRule, JoinMode.ALL_OF])
def test_the_final_verdict_does_not_depend_on_the_order_of_answers(rule: Rule) -> None:
    for answers in itertools.combinations_with_replacement((S, F, K), 4):
        verdicts = set()
        for order in set(itertools.permutations(answers)):
            arrivals = Arrivals(main=4)
            verdict = WAIT
            for answer in order:
                if verdict is WAIT:
                    arrivals.count(Via.MAIN, answer)
                    verdict = decide_ready(rule, arrivals)
            verdicts.add(verdict)
        assert len(verdicts) == 1 and WAIT not in verdicts, answers


@pytest.mark.parametrize("rule", [*TriggerRule, *JoinMode, CallbackRule.CALLBACK])
def test_every_rule_decides_once_everything_has_answered(rule: Rule) -> None:
    for answers in itertools.product((S, F, K), repeat=3):
        arrivals = Arrivals(main=3)
        for answer in answers:
            arrivals.count(Via.MAIN, answer)
        assert decide_ready(rule, arrivals) is not WAIT


def test_what_only_has_to_be_done_before_holds_a_task_back_but_does_not_weigh() -> None:
    arrivals = Arrivals(main=1, order=1)
    arrivals.count(Via.MAIN, S)
    assert decide_ready(JoinMode.ALL_OF, arrivals) is WAIT
    arrivals.count(Via.ORDER, F)
    assert decide_ready(JoinMode.ALL_OF, arrivals) is RUN


def test_the_head_of_an_arm_that_is_not_taken_is_skipped_whatever_its_rule_says() -> None:
    for rule in TriggerRule:
        arrivals = Arrivals(main=1, heads=1)
        arrivals.count(Via.MAIN, S)
        assert decide_ready(rule, arrivals) is WAIT
        arrivals.count(Via.HEAD, K)
        assert decide_ready(rule, arrivals) is SKIP


@pytest.mark.parametrize("order", [(K, S), (S, K)])
def test_a_task_to_which_two_conditions_lead_runs_when_both_are_decided_and_one_took_it(
    order: tuple[Answer, Answer],
) -> None:
    arrivals = Arrivals(heads=2)
    arrivals.count(Via.HEAD, order[0])
    assert decide_ready(TriggerRule.ALL_SUCCESS, arrivals) is WAIT
    arrivals.count(Via.HEAD, order[1])
    assert decide_ready(TriggerRule.ALL_SUCCESS, arrivals) is RUN


def test_one_success_does_not_wait_for_the_second_condition() -> None:
    arrivals = Arrivals(heads=2)
    arrivals.count(Via.HEAD, S)
    assert decide_ready(TriggerRule.ONE_SUCCESS, arrivals) is RUN


def test_a_failed_condition_fails_its_head_unless_the_rule_forgives() -> None:
    for rule, verdict in ((TriggerRule.ALL_SUCCESS, FAIL), (TriggerRule.ALL_DONE, RUN)):
        arrivals = Arrivals(heads=2)
        arrivals.count(Via.HEAD, S)
        arrivals.count(Via.HEAD, F)
        assert decide_ready(rule, arrivals) is verdict


def test_a_head_whose_condition_failed_cannot_run() -> None:
    arrivals = Arrivals(heads=2)
    arrivals.count(Via.HEAD, K)
    arrivals.count(Via.HEAD, F)
    assert decide_ready(TriggerRule.ALL_DONE, arrivals) is FAIL


def test_every_arm_that_a_task_stands_in_must_be_taken() -> None:
    arrivals = Arrivals(members=2)
    arrivals.count(Via.MEMBER, S)
    assert decide_ready(TriggerRule.ALL_SUCCESS, arrivals) is WAIT
    arrivals.count(Via.MEMBER, K)
    assert decide_ready(TriggerRule.ALL_SUCCESS, arrivals) is SKIP


def test_a_closed_arm_outweighs_a_failed_one_in_either_order() -> None:
    for order in ((K, F), (F, K)):
        arrivals = Arrivals(members=2)
        for answer in order:
            arrivals.count(Via.MEMBER, answer)
        assert decide_ready(TriggerRule.ALL_SUCCESS, arrivals) is SKIP


def test_a_failed_predecessor_waits_for_the_arm_to_be_decided() -> None:
    arrivals = Arrivals(main=1, heads=1)
    arrivals.count(Via.MAIN, F)
    assert decide_ready(TriggerRule.ALL_SUCCESS, arrivals) is WAIT
    arrivals.count(Via.HEAD, K)
    assert decide_ready(TriggerRule.ALL_SUCCESS, arrivals) is SKIP
