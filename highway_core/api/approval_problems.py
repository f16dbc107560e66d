"""Why a decision was not taken, as a problem document."""

from __future__ import annotations

from typing import Any, Final

from highway_core.api.approval_models import answer_of
from highway_core.api.problems import ApiError
from highway_core.persistence.approval_store import DecisionRefusedError, Refusal

_STATUSES: Final = {
    Refusal.DECIDED: 409,
    Refusal.EXPIRED: 410,
    Refusal.RUN_OVER: 410,
    Refusal.CANCELLED: 410,
    Refusal.CHOICE: 400,
}
_TITLES: Final = {
    Refusal.DECIDED: "It has been decided",
    Refusal.EXPIRED: "The time for this decision is over",
    Refusal.RUN_OVER: "The run is over",
    Refusal.CANCELLED: "The task does not wait for it",
    Refusal.CHOICE: "This is none of the choices",
}


def refusal_problem(refused: DecisionRefusedError) -> ApiError:
    """What stands, to whoever may know it: the holder of a token or of a key."""
    approval, reason = refused.approval, refused.reason
    stands: dict[str, Any] = {}
    if reason is Refusal.DECIDED:
        stands = answer_of(approval).model_dump(mode="json")
    elif reason is Refusal.CHOICE:
        stands = {"choices": list(approval.choices)}
    code = "invalid_decision" if reason is Refusal.CHOICE else f"approval_{reason}"
    return ApiError(_STATUSES[reason], code, _TITLES[reason], str(refused), approval=stands)
