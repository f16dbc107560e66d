"""The webhooks of a database: made once, claimed by one runner at a time, sent at least once."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from sqlalchemy import CursorResult

from highway_core.errors import StorageError
from highway_core.persistence.models import Webhook
from highway_core.persistence.sessions import Sessions
from highway_core.persistence.statements import webhooks as statements
from highway_core.persistence.webhook_status import WebhookStatus
from highway_core.utils.clock import utc_now

_FIRST_RETRY_SECONDS = 5.0
_RATE_WINDOW = timedelta(minutes=1)
_FIELDS = (
    "id",
    "task_id",
    "execution_id",
    "workflow_id",
    "url",
    "method",
    "headers",
    "payload",
    "webhook_type",
    "status",
    "retry_count",
    "max_retries",
    "next_retry_at",
    "lease_until",
    "fence",
    "delivery_id",
    "response_status",
    "response_headers",
    "response_body",
    "rate_limit_requests",
    "rate_limit_window",
    "created_at",
    "updated_at",
)


class WebhookStore(Sessions):
    """Rows come and go as dicts with plain names (``headers``, ``payload``, ``response_headers``)."""

    def create_webhook(  # noqa: PLR0913, PLR0917  the existing library's signature
        self,
        task_id: str | None,
        execution_id: str | None,
        workflow_id: str | None,
        url: str,
        method: str = "POST",
        headers: Mapping[str, str] | None = None,
        payload: Any = None,
        webhook_type: str = "on_complete",
        status: str = WebhookStatus.PENDING,
        max_retries: int = 3,
        rate_limit_requests: int = 10,
        rate_limit_window: int = 60,
    ) -> bool:
        """Register one call; False if that execution has one of that type already."""
        if urlsplit(url).scheme not in {"http", "https"}:
            raise StorageError(f"A webhook goes to an http or https address, not to {url!r}.")
        values = {
            "task_id": task_id,
            "execution_id": execution_id,
            "workflow_id": workflow_id,
            "url": url,
            "method": method,
            "headers_json": json.dumps(dict(headers or {})),
            "payload_json": json.dumps({} if payload is None else payload),
            "webhook_type": webhook_type,
            "status": WebhookStatus(status).value,
            "max_retries": max_retries,
            "rate_limit_requests": rate_limit_requests,
            "rate_limit_window": rate_limit_window,
            "delivery_id": str(uuid4()),
        }
        return self._change(statements.insert_new(self.engine.dialect.name, values))

    def get_ready_webhooks(self, limit: int = 1000) -> list[dict[str, Any]]:
        """What could be claimed now, oldest first; reading claims nothing."""
        return self._rows(statements.ready(utc_now(), limit))

    def claim_ready_webhooks(self, limit: int = 1000, lease_seconds: float = 60.0) -> list[dict[str, Any]]:
        """Take what is ready, oldest first, for ``lease_seconds``; no other runner gets the same rows meanwhile.

        Hand the row's ``fence`` back with the answer: it is refused if the lease was lost.
        """
        now = utc_now()
        claim = statements.claim(now, now + timedelta(seconds=lease_seconds), limit)
        with self.session_scope(immediate=True) as session:
            rows = [_as_dict(row) for row in session.scalars(claim)]
        return sorted(rows, key=lambda row: int(row["id"]))

    def update_webhook_response(
        self,
        webhook_id: int,
        response_status: int,
        response_headers: Mapping[str, str],
        response_body: str,
        success: bool = True,
        fence: int | None = None,
    ) -> bool:
        """Record the final answer; False if there is no such webhook, or another runner has claimed it since."""
        values = {
            "status": (WebhookStatus.SENT if success else WebhookStatus.FAILED).value,
            "response_status": response_status,
            "response_headers_json": json.dumps(dict(response_headers)),
            "response_body": response_body.replace("\0", "�"),
            "updated_at": utc_now(),
        }
        return self._change(statements.answered(webhook_id, fence, values))

    def schedule_webhook_retry(self, webhook_id: int, fence: int | None = None) -> bool:
        """Count a failed attempt and try again in 5 s × 2^n and up to a second more; False if it was the last."""
        with self.session_scope(immediate=True) as session:
            row = session.scalars(statements.by_id(webhook_id).with_for_update()).one_or_none()
            if row is None:
                return False
            now = utc_now()
            again = row.retry_count < row.max_retries
            delay = _FIRST_RETRY_SECONDS * 2**row.retry_count + random.random()  # noqa: S311  spreads retries
            values = {
                "status": (WebhookStatus.RETRY_SCHEDULED if again else WebhookStatus.FAILED).value,
                "retry_count": row.retry_count + again,
                "next_retry_at": now + timedelta(seconds=delay) if again else None,
                "updated_at": now,
            }
            done = session.execute(statements.answered(webhook_id, fence, values))
            return again and _touched(done)

    def postpone_webhook(self, webhook_id: int, seconds: float, fence: int | None = None) -> bool:
        """Give a claimed webhook back until later, as a rate limit asks for; does not count as an attempt."""
        now = utc_now()
        values = {
            "status": WebhookStatus.RETRY_SCHEDULED.value,
            "next_retry_at": now + timedelta(seconds=seconds),
            "updated_at": now,
        }
        return self._change(statements.answered(webhook_id, fence, values))

    def get_webhooks_by_workflow(self, workflow_id: str) -> list[dict[str, Any]]:
        return self._rows(statements.of_run(workflow_id))

    def get_webhooks_by_status(self, status_list: Sequence[str]) -> list[dict[str, Any]]:
        return self._rows(statements.by_status([str(status) for status in status_list]))

    def count_webhooks(self) -> dict[str, int]:
        """How many webhooks have which status; those that none has are left out."""
        with self.session_scope() as session:
            return {row.status: row[1] for row in session.execute(statements.count_by_status())}

    def cleanup_completed_webhooks(self, days_old: int = 30) -> int:
        """Delete what was sent longer ago than that; how many there were."""
        with self.session_scope(immediate=True) as session:
            done = session.execute(statements.delete_sent(utc_now() - timedelta(days=days_old)))
            return done.rowcount if isinstance(done, CursorResult) else 0

    def get_rate_limit_stats(self, base_url: str) -> dict[str, int]:
        """The answers of an address in the last minute."""
        with self.session_scope() as session:
            total, sent = session.execute(statements.counts_since(base_url, utc_now() - _RATE_WINDOW)).one()
        return {"total_requests": total, "successful_requests": sent, "failed_requests": total - sent}

    def _rows(self, query: Any) -> list[dict[str, Any]]:
        with self.session_scope() as session:
            return [_as_dict(row) for row in session.scalars(query)]

    def _change(self, statement: Any) -> bool:
        with self.session_scope(immediate=True) as session:
            return _touched(session.execute(statement))


def _as_dict(row: Webhook) -> dict[str, Any]:
    return {name: getattr(row, name) for name in _FIELDS}


def _touched(result: object) -> bool:
    return isinstance(result, CursorResult) and result.rowcount > 0
