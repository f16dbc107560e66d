"""Decisions of people: finding the approval that a link or an id names, and deciding it exactly once.

Whoever decides holds the lock of the run's row, as every transition of the run does: a decision, the approval's end and
the end of the run exclude each other. The task itself is completed by a worker, to whom the decision makes the task's
waiting row of the queue claimable.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, assert_never

from highway_core.errors import ApprovalError, StorageError
from highway_core.lifecycle import RUN_FINAL, ApprovalStatus, RunStatus
from highway_core.persistence.durable_connection import ConnectionPool, DurableConnection
from highway_core.persistence.statements import approvals as statements
from highway_core.utils.approval_token import looks_like_token, token_digest

MAX_COMMENT: Final = 2_000
"""Characters of a comment that are kept."""
WORK_CHANNEL: Final = "highway_work"
_MAX_NAME: Final = 200
_TIMEOUT: Final = "TIMEOUT"
_HUMAN_INPUT: Final = "HUMAN_INPUT"
_NOT_TEXT: Final = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters but tab and line feed, what turns the direction of writing around, and halves of surrogates."""

_log = logging.getLogger(__name__)


class Refusal(StrEnum):
    """Why a decision is not taken."""

    DECIDED = "decided"
    EXPIRED = "expired"
    RUN_OVER = "run_over"
    CANCELLED = "cancelled"
    """The task does not wait for it any more: it was cancelled, or asks anew."""
    CHOICE = "choice"
    """It is none of the choices."""


@dataclass(frozen=True, slots=True)
class Approval:
    """What a person was asked, and what came of it, as of the moment it was read."""

    approval_id: str
    run_id: str
    workflow_name: str
    definition_hash: str | None
    run_status: RunStatus
    task_id: str
    status: ApprovalStatus
    prompt: str
    assignee: str
    choices: tuple[str, ...]
    token_hash: str = field(repr=False)
    created_at: datetime
    expires_at: datetime | None
    decision: str | None
    decided_at: datetime | None
    decided_by: str | None
    decided_via: str | None
    comment: str | None
    late: bool
    """Its time is over, whether or not a worker has said so yet."""
    superseded: bool
    """The task was carried out again since, and asks anew."""

    @property
    def refusal(self) -> Refusal | None:
        """Why nobody can decide it (any more); None while it is open."""
        match self.status:
            case ApprovalStatus.DECIDED:
                return Refusal.DECIDED
            case ApprovalStatus.EXPIRED:
                return Refusal.EXPIRED
            case ApprovalStatus.CANCELLED:
                return Refusal.RUN_OVER if self.run_status in RUN_FINAL else Refusal.CANCELLED
            case ApprovalStatus.PENDING:
                return self._refusal_while_pending()
            case _:
                assert_never(self.status)

    def _refusal_while_pending(self) -> Refusal | None:
        if self.run_status in RUN_FINAL:
            return Refusal.RUN_OVER
        if self.superseded:
            return Refusal.CANCELLED
        return Refusal.EXPIRED if self.late else None


class DecisionRefusedError(ApprovalError):
    """The decision was not taken and changed nothing. ``approval`` is what stands, ``reason`` why."""

    def __init__(self, approval: Approval, reason: Refusal) -> None:
        self.approval = approval
        self.reason = reason
        super().__init__(
            f"The approval of task '{approval.task_id}' of run '{approval.run_id}' {_why(approval, reason)}"
        )


class ApprovalStore:
    """The approvals of a database; any number of threads may use one store."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool

    def by_token(self, token: str) -> Approval | None:
        """The approval that the token's link belongs to."""
        if not looks_like_token(token):
            return None
        return self._find(statements.BY_TOKEN, token_digest(token))

    def by_id(self, approval_id: str) -> Approval | None:
        return self._find(statements.BY_ID, approval_id)

    def open(
        self,
        *,
        run_id: str | None = None,
        assignee: str | None = None,
        after: tuple[datetime, str] | None = None,
        limit: int = 100,
    ) -> list[Approval]:
        """Those that can be decided now, the oldest first; ``after`` is the moment and id of the last one seen."""
        moment, last = after or (None, None)
        values = (run_id, run_id, assignee, assignee, moment, moment, last, limit)
        with self._pool.connection() as connection:
            return [_approval(row) for row in connection.fetch(statements.OPEN, values)]

    def decide(self, approval_id: str, decision: str, *, by: str, via: str, comment: str | None = None) -> Approval:
        """Take the decision, for good, and let the task go on. The approval as it stands then.

        DecisionRefusedError if it cannot be taken: the first decision stands, also for who sends it twice.
        ConnectionLostError: look again, it may have been taken. KeyError: no approval has that id.
        """
        with self._pool.connection() as connection:
            with connection.transaction():
                # The run first: whoever ends it, or the task, waits for us or has done so.
                connection.run(statements.LOCK_RUN, (approval_id,))
                approval = _found(connection, approval_id)
                reason = approval.refusal if decision in approval.choices else Refusal.CHOICE
                if reason is not None:
                    raise DecisionRefusedError(approval, reason)
                who, said = clean_name(by), clean_text(comment)
                moment = connection.value(statements.DECIDE, (decision, who, via, said, approval_id))
                if moment is None:  # its time ran out between the two statements
                    raise DecisionRefusedError(_found(connection, approval_id), Refusal.EXPIRED)
                queue = connection.value(statements.WAKE, (approval_id,))
            _hint(connection, queue)
        _log.info(
            "approval decided",
            extra={"run_id": approval.run_id, "task_id": approval.task_id, "decision": decision, "by": who, "via": via},
        )
        return replace(
            approval,
            status=ApprovalStatus.DECIDED,
            decision=decision,
            decided_at=moment.astimezone(UTC),
            decided_by=who,
            decided_via=via,
            comment=said,
        )

    def _find(self, statement: str, *values: Any) -> Approval | None:
        with self._pool.connection() as connection:
            rows = connection.fetch(statement, values)
        return _approval(rows[0]) if rows else None


def approval_result(approval: Approval) -> dict[str, Any]:
    """What the task that asked is completed with, once there is a decision or the time is over."""
    if approval.status is ApprovalStatus.DECIDED:
        return {
            "status": approval.decision,
            "reason": _HUMAN_INPUT,
            "decided_by": approval.decided_by,
            "decided_at": None if approval.decided_at is None else approval.decided_at.isoformat(),
            "comment": approval.comment,
        }
    if approval.refusal is Refusal.EXPIRED:
        return {"status": _TIMEOUT, "reason": _TIMEOUT}
    raise ApprovalError(f"The approval of task '{approval.task_id}' of run '{approval.run_id}' has no result yet.")


def clean_text(text: str | None) -> str | None:
    """Text of a person as it can be stored and shown; None if nothing is left of it."""
    if text is None:
        return None
    clean = _NOT_TEXT.sub("", text.replace("\r\n", "\n")).strip()
    return (clean if len(clean) <= MAX_COMMENT else clean[: MAX_COMMENT - 1] + "…") or None


def clean_name(name: str) -> str:
    """The name of a person on one line."""
    return " ".join(_NOT_TEXT.sub("", name).split())[:_MAX_NAME] or "unknown"


def _found(connection: DurableConnection, approval_id: str) -> Approval:
    rows = connection.fetch(statements.BY_ID, (approval_id,))
    if not rows:
        raise KeyError(approval_id)
    return _approval(rows[0])


def _hint(connection: DurableConnection, queue: Any) -> None:
    """Tell idle workers; if that fails they find the row by themselves, and the decision is taken all the same."""
    try:
        connection.run(statements.NOTIFY, (WORK_CHANNEL, str(queue)))
    except StorageError as error:
        _log.debug("no worker was told of a decision: %s", error)


def _approval(row: Sequence[Any]) -> Approval:
    (approval_id, run_id, name, definition, run_status, task_id, status, prompt, assignee, choices, token, *rest) = row
    created_at, expires_at, decision, decided_at, decided_by, via, comment, late, superseded = rest
    return Approval(
        approval_id=approval_id,
        run_id=run_id,
        workflow_name=name,
        definition_hash=definition,
        run_status=RunStatus(run_status),
        task_id=task_id,
        status=ApprovalStatus(status),
        prompt=prompt,
        assignee=assignee,
        choices=tuple(json.loads(choices)),
        token_hash=token,
        created_at=created_at.astimezone(UTC),
        expires_at=None if expires_at is None else expires_at.astimezone(UTC),
        decision=decision,
        decided_at=None if decided_at is None else decided_at.astimezone(UTC),
        decided_by=decided_by,
        decided_via=via,
        comment=comment,
        late=late,
        superseded=superseded,
    )


def _why(approval: Approval, reason: Refusal) -> str:
    """The end of a sentence that the approval begins."""
    match reason:
        case Refusal.DECIDED:
            return (
                f"was decided before: {approval.decision}, by {approval.decided_by} at {_moment(approval.decided_at)}."
            )
        case Refusal.EXPIRED:
            return f"ended at {_moment(approval.expires_at)}: nobody had decided by then."
        case Refusal.RUN_OVER:
            return f"is not needed any more: the run is {approval.run_status}."
        case Refusal.CANCELLED:
            return "is not needed any more: the task does not wait for it. If it asks again, there is a new link."
        case Refusal.CHOICE:
            return f"takes one of {', '.join(approval.choices)}."
        case _:
            assert_never(reason)


def _moment(moment: datetime | None) -> str:
    return "an unknown moment" if moment is None else moment.isoformat(sep=" ", timespec="seconds")
