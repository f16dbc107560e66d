"""The statements on ``webhooks``. A claim is one statement, so that two runners never hold the same row."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Delete, Insert, Select, Update, and_, case, delete, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from highway_core.persistence.models import Webhook
from highway_core.persistence.webhook_status import WEBHOOK_OPEN, WebhookStatus

_OPEN = [status.value for status in WEBHOOK_OPEN]


def insert_new(dialect: str, values: dict[str, Any]) -> Insert:
    """Inserts nothing if the execution has a webhook of that type already."""
    insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
    return insert(Webhook).values(values).on_conflict_do_nothing()


def of_run(run_id: str) -> Select[Webhook]:
    return select(Webhook).where(Webhook.workflow_id == run_id).order_by(Webhook.id)


def by_status(statuses: Sequence[str]) -> Select[Webhook]:
    return select(Webhook).where(Webhook.status.in_(statuses)).order_by(Webhook.id)


def count_by_status() -> Select[str, int]:
    return select(Webhook.status, func.count(Webhook.id)).group_by(Webhook.status)


def ready(now: datetime, limit: int) -> Select[Webhook]:
    """What may be sent, oldest first; also what a runner that died was sending."""
    return select(Webhook).where(_ready(now)).order_by(Webhook.id).limit(limit)


def claim(now: datetime, lease_until: datetime, limit: int) -> Update:
    """Take up to ``limit`` ready ones; returns the rows. Several runners may do this at once."""
    chosen = (
        select(Webhook.id)
        .where(_ready(now))
        .order_by(Webhook.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
        # Without MATERIALIZED PostgreSQL may evaluate the choice again and claim more than the limit.
        .cte("chosen")
        .prefix_with("MATERIALIZED", dialect="postgresql")
    )
    return (
        update(Webhook)
        .where(Webhook.id.in_(select(chosen.c.id)))
        .values(status=WebhookStatus.SENDING.value, fence=Webhook.fence + 1, lease_until=lease_until, updated_at=now)
        .returning(Webhook)
        .execution_options(synchronize_session=False)
    )


def answered(webhook_id: int, fence: int | None, values: dict[str, Any]) -> Update:
    """New values of one webhook, if it is still held under ``fence`` (None: whoever holds it)."""
    statement = update(Webhook).where(Webhook.id == webhook_id).values(values | {"lease_until": None})
    if fence is not None:
        statement = statement.where(Webhook.fence == fence, Webhook.status == WebhookStatus.SENDING.value)
    return statement.execution_options(synchronize_session=False)


def by_id(webhook_id: int) -> Select[Webhook]:
    return select(Webhook).where(Webhook.id == webhook_id)


def delete_sent(before: datetime) -> Delete:
    statement = delete(Webhook).where(Webhook.status == WebhookStatus.SENT.value, Webhook.updated_at < before)
    return statement.execution_options(synchronize_session=False)


def counts_since(base_url: str, since: datetime) -> Select[int, int]:
    """How many answers of that address there were since then, and how many of them were successes."""
    sent = func.count(case((Webhook.status == WebhookStatus.SENT.value, 1)))
    answered_since = and_(Webhook.url.startswith(base_url, autoescape=True), Webhook.updated_at >= since)
    return select(func.count(Webhook.id), sent).where(answered_since)


def _ready(now: datetime) -> ColumnElement[bool]:
    due = or_(Webhook.next_retry_at.is_(None), Webhook.next_retry_at <= now)
    lost = and_(Webhook.status == WebhookStatus.SENDING.value, Webhook.lease_until < now)
    return or_(and_(Webhook.status.in_(_OPEN), due), lost)
