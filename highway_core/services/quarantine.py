"""Keeps tasks apart that may have cost workers their lives.

When a worker dies, nobody can tell which of its tasks has killed it, so all of them have lost a lease. What has lost
one is suspicious, and a task that kills mostly does so at once. So a worker that takes a suspicious task on takes on
nothing else until that task has its answer, or has been carried out for a second: it kills what was there before it,
and nobody who has just come by.

A task that may lose only one more lease before it is failed has its last chance. It is carried out by a worker that has
nothing else that has lost any, and the work that was claimed with it has gone back before it begins. If it is the one
that kills, it takes nobody with it; if it is not, only a task that was never tried before can take it along.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from highway_core.engine.durable.inputs import Input, Work
from highway_core.lifecycle import QueueKind
from highway_core.persistence.transition_store import Claim, TransitionStore
from highway_core.services.worker_hands import Held, WorkerHands

_PAUSE = 1.0
"""Seconds after which a suspicious task that was sent away may be claimed again, by whoever can take it."""
_NEW = 1.0
"""Seconds after which a task that is carried out does not kill its worker at once."""

Inputs = Mapping[str, Sequence[Input]]


class Quarantine:
    """Of the deciding thread."""

    def __init__(self, store: TransitionStore, hands: WorkerHands, max_lease_losses: int) -> None:
        self._store = store
        self._hands = hands
        self._most = max_lease_losses
        self._inside: dict[Held, bool] = {}
        """What is suspicious and was admitted; True if it has its last chance."""
        self._new: Sequence[Held] = ()
        """Those of them that were not seen to be past their first second."""

    def seconds(self, *waiting: Inputs) -> float:
        """For how long nothing more is to be claimed or taken over; ``waiting``: what is admitted and not begun."""
        if not self._new:
            return 0.0
        soon = _leases(*waiting)
        left = {lease: _NEW if lease in soon else self._left(lease) for lease in self._new}
        self._new = [lease for lease, seconds in left.items() if seconds > 0]
        return max(left.values())

    def _left(self, lease: Held) -> float:
        age = self._hands.age(lease)
        return 0.0 if age is None else max(0.0, _NEW - age)

    def admit(self, claims: Sequence[Claim], waiting: Inputs) -> Sequence[Claim]:
        """Those that are to be carried out here and now. The others have gone back when this returns, which does not
        count as an attempt: what is suspicious may be claimed again in a moment, the rest at once."""
        suspicious = [one for one in claims if self._is_suspicious(one)]
        if not suspicious and not self._new:
            return claims
        still = {*self._hands.held(), *_leases(waiting)}
        self._inside = {lease: last for lease, last in self._inside.items() if lease in still}
        closed = self.seconds(waiting) > 0  # an answer that was lost has brought these: nothing is claimed now
        entering = [] if closed else self._entering(suspicious, waiting)
        others = [] if closed else [one for one in claims if self._may_come_along(one, entering)]
        self._send_away(claims, {one.lease for one in (*entering, *others)})
        inside = {one.lease: self._is_last(one) for one in entering}
        self._inside |= inside
        self._new = [*self._new, *inside]
        return [*others, *entering]

    def _entering(self, suspicious: Sequence[Claim], waiting: Inputs) -> Sequence[Claim]:
        if any(self._inside.values()):
            return []
        if suspicious and self._is_last(suspicious[0]) and not self._inside and not waiting:
            return suspicious[:1]
        return [one for one in suspicious if not self._is_last(one)]

    def _may_come_along(self, claim: Claim, entering: Sequence[Claim]) -> bool:
        """True for what is not suspicious and may be in the commit after which these begin."""
        if self._is_suspicious(claim):
            return False
        if not entering:
            return True
        return not claim.lease_losses and not (_is_work(claim) and self._is_last(entering[0]))

    def _send_away(self, claims: Sequence[Claim], admitted: set[Held]) -> None:
        away = [one for one in claims if one.lease not in admitted]
        if back := [one.lease for one in away if not self._is_suspicious(one)]:
            self._store.give_back(back)
        if later := [one.lease for one in away if self._is_suspicious(one)]:
            self._store.postpone(later, _PAUSE)

    def _is_suspicious(self, claim: Claim) -> bool:
        return 0 < claim.lease_losses < self._most and _is_work(claim)

    def _is_last(self, claim: Claim) -> bool:
        return claim.lease_losses == self._most - 1


def _is_work(claim: Claim) -> bool:
    return claim.kind == QueueKind.WORK


def _leases(*waiting: Inputs) -> set[Held]:
    return {one.lease for inputs in waiting for given in inputs.values() for one in given if isinstance(one, Work)}
