"""The only judge of readiness: how the predecessors ended, and what the trigger rule makes of it.

A node has up to four kinds of predecessors, counted apart in :class:`Arrivals`:

* *main* ones, which its trigger rule (or join mode) weighs;
* *order* ones, which only have to be done before it (a join's plain dependencies, a callback's own dependencies);
* *heads*: conditions of which it is the first task of an arm. Two conditions may lead to the same task: taking the arm
  is success, not taking it is a skip, and the rule weighs them; if none takes it, the task is skipped whatever the
  rule says;
* *members*: operators whose arm or branch it belongs to further down. Each of them must have taken that arm.

Both modes call :func:`decide_ready` with the same counts: LOCAL keeps them in memory, DURABLE in columns of the task
row. The outcome never depends on the order in which the answers come in, but for ``one_*`` rules and ``any_of``,
whose meaning is "the first".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum, StrEnum
from types import MappingProxyType

from highway_core.engine.models import JoinMode, TriggerRule


class Verdict(Enum):
    """What follows for a task from the answers so far."""

    WAIT = "wait"
    RUN = "run"
    SKIP = "skip"
    FAIL_UPSTREAM = "fail_upstream"


class Answer(Enum):
    """How a predecessor ended, or whether it took the arm."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"


class CallbackRule(StrEnum):
    """The rule of an ``on_success`` / ``on_failure`` task: any source that ended that way. A match counts as
    succeeded, anything else as skipped."""

    CALLBACK = "callback"


class Via(Enum):
    """Which of the four groups an answer counts in."""

    MAIN = "main"
    ORDER = "order"
    HEAD = "head"
    MEMBER = "member"


Rule = TriggerRule | JoinMode | CallbackRule


class Arrivals:
    """The counts of one task instance. ``*_left`` is how many have not answered yet."""

    __slots__ = (
        "failed",
        "first",
        "heads",
        "heads_failed",
        "heads_left",
        "heads_taken",
        "left",
        "members_closed",
        "members_failed",
        "members_left",
        "order_left",
        "skipped",
        "succeeded",
    )

    def __init__(self, main: int = 0, order: int = 0, heads: int = 0, members: int = 0) -> None:
        self.left = main
        self.succeeded = 0
        self.failed = 0
        self.skipped = 0
        self.first: Answer | None = None
        """The first main answer that was not *skipped*."""
        self.order_left = order
        self.heads = heads
        self.heads_left = heads
        self.heads_taken = 0
        self.heads_failed = 0
        self.members_left = members
        self.members_closed = 0
        self.members_failed = 0

    def count(self, via: Via, answer: Answer) -> None:
        """Add one answer."""
        if via is Via.MAIN:
            self._count_main(answer)
        elif via is Via.ORDER:
            self.order_left -= 1
        elif via is Via.HEAD:
            self.heads_left -= 1
            self.heads_taken += answer is Answer.SUCCEEDED
            self.heads_failed += answer is Answer.FAILED
        else:
            self.members_left -= 1
            self.members_closed += answer is Answer.SKIPPED
            self.members_failed += answer is Answer.FAILED

    def _count_main(self, answer: Answer) -> None:
        self.left -= 1
        if answer is Answer.SUCCEEDED:
            self.succeeded += 1
        elif answer is Answer.FAILED:
            self.failed += 1
        else:
            self.skipped += 1
            return
        if self.first is None:
            self.first = answer


def decide_ready(rule: Rule, arrivals: Arrivals) -> Verdict:
    """What follows from ``arrivals`` under ``rule``. Pure; anything but WAIT is final."""
    gate = _gate(rule, arrivals)
    if gate is not Verdict.RUN:
        return gate
    verdict = _RULES[rule](arrivals)
    if verdict is Verdict.RUN and arrivals.order_left:
        return Verdict.WAIT
    return verdict


def _gate(rule: Rule, a: Arrivals) -> Verdict:
    """Whether the arms and branches that the task stands in were taken."""
    first_is_enough = rule in _FIRST_IS_ENOUGH and a.heads_taken
    if a.members_left or (a.heads_left and not first_is_enough):
        return Verdict.WAIT
    if a.members_closed:
        return Verdict.SKIP
    if a.members_failed:
        return Verdict.FAIL_UPSTREAM
    if a.heads and not a.heads_taken:
        return Verdict.FAIL_UPSTREAM if a.heads_failed else Verdict.SKIP
    if a.heads_failed and rule in _FORGIVES_NO_FAILURE:
        return Verdict.FAIL_UPSTREAM
    return Verdict.RUN


_FIRST_IS_ENOUGH = frozenset({"one_success", "one_done", "any_of"})
_FORGIVES_NO_FAILURE = frozenset({"all_success", "none_failed"})


def _none_succeeded(a: Arrivals) -> Verdict:
    """Nothing came that the rule waits for: wait for the rest, then fail or pass the skip on."""
    if a.left:
        return Verdict.WAIT
    return Verdict.FAIL_UPSTREAM if a.failed else Verdict.SKIP


def _all_success(a: Arrivals) -> Verdict:
    if a.failed:
        return Verdict.FAIL_UPSTREAM
    if a.left:
        return Verdict.WAIT
    return Verdict.SKIP if a.skipped and not a.succeeded else Verdict.RUN


def _all_done(a: Arrivals) -> Verdict:
    return Verdict.WAIT if a.left else Verdict.RUN


def _one_success(a: Arrivals) -> Verdict:
    if a.succeeded or not (a.left or a.failed or a.skipped):
        return Verdict.RUN
    return _none_succeeded(a)


def _one_done(a: Arrivals) -> Verdict:
    if a.succeeded or a.failed or not (a.left or a.skipped):
        return Verdict.RUN
    return Verdict.WAIT if a.left else Verdict.SKIP


def _none_failed(a: Arrivals) -> Verdict:
    if a.failed:
        return Verdict.FAIL_UPSTREAM
    return Verdict.WAIT if a.left else Verdict.RUN


def _all_of(a: Arrivals) -> Verdict:
    """Every branch is done, however it ended; a join in a dead path stays dead."""
    if a.left:
        return Verdict.WAIT
    return Verdict.RUN if a.succeeded or a.failed else Verdict.SKIP


def _any_of(a: Arrivals) -> Verdict:
    """The first branch that ended decides; a branch that was never taken did not end."""
    if a.first is None:
        return Verdict.WAIT if a.left else Verdict.SKIP
    return Verdict.RUN if a.first is Answer.SUCCEEDED else Verdict.FAIL_UPSTREAM


def _callback(a: Arrivals) -> Verdict:
    if a.succeeded:
        return Verdict.RUN
    return Verdict.WAIT if a.left else Verdict.SKIP


_RULES: Mapping[Rule, Callable[[Arrivals], Verdict]] = MappingProxyType(
    {
        TriggerRule.ALL_SUCCESS: _all_success,
        TriggerRule.ALL_DONE: _all_done,
        TriggerRule.ONE_SUCCESS: _one_success,
        TriggerRule.ONE_DONE: _one_done,
        TriggerRule.NONE_FAILED: _none_failed,
        JoinMode.ALL_OF: _all_of,
        JoinMode.ANY_OF: _any_of,
        CallbackRule.CALLBACK: _callback,
    }
)
"""The join modes ``all_success`` and ``one_success`` are the trigger rules of those names: equal strings, one entry."""
