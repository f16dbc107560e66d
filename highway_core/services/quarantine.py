"""Keeps tasks apart that may have cost workers their lives.

When a worker dies, nobody can tell which of its tasks has killed it, so all of them have lost a lease. One that may
lose only one more before it is failed is carried out by a worker that has nothing else that has lost any. If it is the
one that kills, it takes nobody with it; if it is not, only a task that was never tried before can take it along.
"""

from __future__ import annotations

from collections.abc import Sequence

from highway_core.lifecycle import QueueKind
from highway_core.persistence.transition_store import Claim, TransitionStore
from highway_core.services.worker_hands import Held, WorkerHands

_PAUSE = 1.0
"""Seconds after which a task that was sent away may be claimed again, by whoever can take it."""


class Quarantine:
    """Of the deciding thread."""

    def __init__(self, store: TransitionStore, hands: WorkerHands, max_lease_losses: int) -> None:
        self._store = store
        self._hands = hands
        self._most = max_lease_losses
        self._inside: dict[Held, bool] = {}
        """What has lost a lease before and is carried out here; True if it has its last chance."""

    def admit(self, claims: Sequence[Claim]) -> Sequence[Claim]:
        """Those that are to be carried out here and now; the others may be claimed again in a moment, and it does not
        count as an attempt."""
        if not any(one.lease_losses for one in claims):
            return claims
        still = {*self._hands.unfinished()}
        self._inside = {lease: last for lease, last in self._inside.items() if lease in still}
        away = [one for one in claims if not self._may_enter(one)]
        if away:
            self._store.postpone([_lease(one) for one in away], _PAUSE)
        return [one for one in claims if one not in away]

    def _may_enter(self, claim: Claim) -> bool:
        if not 0 < claim.lease_losses < self._most or claim.kind != QueueKind.WORK:
            return True
        last = claim.lease_losses == self._most - 1
        if any(self._inside.values()) or (last and self._inside):
            return False
        self._inside[_lease(claim)] = last
        return True


def _lease(claim: Claim) -> Held:
    return (claim.run_id, claim.path, claim.kind, claim.fence)
