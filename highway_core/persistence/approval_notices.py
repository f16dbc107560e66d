"""Which approvals somebody has still to be told of. Claimed for a while, so that two services do not both tell."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from highway_core.persistence.durable_connection import ConnectionPool
from highway_core.persistence.statements import approvals as statements

_HELD_SECONDS: Final = 60


@dataclass(frozen=True, slots=True)
class Notice:
    """An approval whose assignee has not been told."""

    approval_id: str
    run_id: str
    workflow_name: str
    task_id: str
    prompt: str
    assignee: str
    choices: tuple[str, ...]
    token_hash: str = field(repr=False)
    created_at: datetime
    expires_at: datetime | None


class ApprovalNotices:
    """The notifications of a database. Thread-safe."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool

    def claim_due(self, limit: int) -> list[Notice]:
        """Those that nobody holds: whoever made them died, or could not tell."""
        return self._claim(statements.CLAIM_DUE, limit, _HELD_SECONDS)

    def claim_new(self, approval_ids: Sequence[str]) -> list[Notice]:
        """Those just made by the caller, for whom their first moments are kept free."""
        return self._claim(statements.CLAIM_NEW, list(approval_ids), len(approval_ids), _HELD_SECONDS)

    def sent(self, approval_id: str) -> None:
        """Nobody need tell any more."""
        self._run(statements.NOTIFIED, approval_id)

    def later(self, approval_id: str) -> None:
        """It could not be told: again after a while, which grows with the age of the approval."""
        self._run(statements.NOTIFY_LATER, approval_id)

    def _claim(self, statement: str, *values: Any) -> list[Notice]:
        with self._pool.connection() as connection:
            return sorted((_notice(row) for row in connection.fetch(statement, values)), key=_age)

    def _run(self, statement: str, approval_id: str) -> None:
        with self._pool.connection() as connection:
            connection.run(statement, (approval_id,))


def _notice(row: Sequence[Any]) -> Notice:
    approval_id, run_id, name, task_id, prompt, assignee, choices, token_hash, created_at, expires_at = row
    return Notice(
        approval_id=approval_id,
        run_id=run_id,
        workflow_name=name,
        task_id=task_id,
        prompt=prompt,
        assignee=assignee,
        choices=tuple(json.loads(choices)),
        token_hash=token_hash,
        created_at=created_at.astimezone(UTC),
        expires_at=None if expires_at is None else expires_at.astimezone(UTC),
    )


def _age(notice: Notice) -> tuple[datetime, str]:
    return notice.created_at, notice.approval_id
