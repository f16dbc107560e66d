"""Where the delivery of a webhook stands."""

from __future__ import annotations

from enum import StrEnum


class WebhookStatus(StrEnum):
    """The strings are the public contract."""

    PENDING = "pending"
    """To be sent as soon as a runner claims it."""
    SENDING = "sending"
    """A runner holds it until ``lease_until``; then another may claim it."""
    SENT = "sent"
    FAILED = "failed"
    """The receiver refused it for good, or ``max_retries`` is used up."""
    RETRY_SCHEDULED = "retry_scheduled"
    """To be sent at ``next_retry_at``."""
    CANCELLED = "cancelled"


WEBHOOK_OPEN = (WebhookStatus.PENDING, WebhookStatus.RETRY_SCHEDULED)
"""What a runner may claim when its time has come."""
