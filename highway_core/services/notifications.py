"""Tells people that a decision is waited for: through a webhook, by mail, or as a line in the log.

At least once: who made the approval tells at once (:meth:`Notifier.notify_new`); if that dies or fails, a sweep
(:meth:`Notifier.notify_pending`) does. Nothing is sent for an approval that is decided or over. The link holds the
token and so goes to the assignee alone; the log has it only where HIGHWAY_LOG_LINKS asks for that.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from email.message import EmailMessage
from functools import cached_property
from typing import Final

from highway_core.config import Settings, SmtpSettings
from highway_core.errors import TaskError
from highway_core.persistence.approval_notices import ApprovalNotices, Notice
from highway_core.persistence.approval_store import clean_name
from highway_core.persistence.durable_connection import ConnectionPool
from highway_core.tools.email import deliver, recipients_of
from highway_core.tools.http_client import Call, exchange
from highway_core.tools.webhook import SIGNING_KEY, signature
from highway_core.utils.approval_token import approval_token, token_digest
from highway_core.utils.clock import utc_now
from highway_core.utils.secret_key import secret_key

_log = logging.getLogger(__name__)
_WEBHOOK_SECONDS: Final = 10
_FAILURES_IN_A_ROW: Final = 3
"""After so many a pass is given up: the receiver is down, and the rest would only wait for it as well."""
_LONGEST_SUBJECT: Final = 120


class Notifier:
    """Sends notifications; one is enough for a process, and any thread may use it.

    What it calls may take its time: keep it away from threads that others wait for.
    """

    def __init__(self, settings: Settings, pool: ConnectionPool) -> None:
        self._settings = settings
        self._notices = ApprovalNotices(pool)

    def notify_new(self, approval_ids: Sequence[str]) -> int:
        """Tell of approvals that the caller has just committed. How many were told of; StorageError."""
        return self._tell(self._notices.claim_new(approval_ids)) if approval_ids else 0

    def notify_pending(self, limit: int = 100) -> int:
        """Tell of approvals that nobody has told of in time. How many were told of; StorageError."""
        return self._tell(self._notices.claim_due(limit))

    @cached_property
    def _key(self) -> bytes:
        return secret_key(self._settings.secret_key, self._settings.home)

    def _tell(self, notices: Sequence[Notice]) -> int:
        told = failures = 0
        for notice in notices:
            try:
                self._send(notice, self._link(notice))
            except TaskError as error:
                _log.warning("%s could not be told of: %s", _name(notice), error)
                self._notices.later(notice.approval_id)
                failures += 1
                if failures == _FAILURES_IN_A_ROW:
                    break
            else:
                self._notices.sent(notice.approval_id)
                told, failures = told + 1, 0
        return told

    def _link(self, notice: Notice) -> str:
        token = approval_token(self._key, notice.approval_id)
        if token_digest(token) != notice.token_hash:
            raise TaskError(
                "it was made with another secret key. Set HIGHWAY_SECRET_KEY to the same value for every service."
            )
        return f"{self._settings.link_base}/workflow/resume?token={token}"

    def _send(self, notice: Notice, link: str) -> None:
        smtp = self._settings.smtp
        if self._settings.notify_webhook is not None:
            self._post(self._settings.notify_webhook, notice, link)
        elif smtp is not None and _is_address(notice.assignee):
            deliver(smtp, _letter(smtp, notice, link))
        else:
            _log.info("%s waits for %s%s", _name(notice), clean_name(notice.assignee), self._ending(link))
            return
        if self._settings.log_links:
            _log.info("%s waits for %s: %s", _name(notice), clean_name(notice.assignee), link)

    def _ending(self, link: str) -> str:
        if self._settings.log_links:
            return f": {link}"
        return ". Its link was sent to nobody: set HIGHWAY_SMTP_HOST or HIGHWAY_NOTIFY_WEBHOOK, or HIGHWAY_LOG_LINKS=1."

    def _post(self, url: str, notice: Notice, link: str) -> None:
        event = {
            "event": "approval.requested",
            "approval_id": notice.approval_id,
            "workflow_id": notice.run_id,
            "workflow_name": notice.workflow_name,
            "task_id": notice.task_id,
            "prompt": notice.prompt,
            "assignee": notice.assignee,
            "choices": list(notice.choices),
            "created_at": notice.created_at.isoformat(),
            "expires_at": None if notice.expires_at is None else notice.expires_at.isoformat(),
            "link": link,
        }
        body = json.dumps(event, ensure_ascii=False).encode()
        headers = {
            "Content-Type": "application/json",
            "X-Highway-Event": "approval.requested",
            "X-Highway-Delivery": notice.approval_id,
        }
        key = self._settings.secret(SIGNING_KEY)
        if key:
            headers["X-Highway-Signature"] = signature(key, body, int(utc_now().timestamp()))
        # Not redirected: the link is for this receiver. What it answers may repeat the link, and is not told.
        call = Call("POST", url, headers, data=body, timeout=_WEBHOOK_SECONDS, follow_redirects=False, trusted=True)
        answer = exchange(call)
        if not 200 <= answer.status < 300:
            raise TaskError(f"{call.name}: {answer.status} {answer.reason}".rstrip())


def _name(notice: Notice) -> str:
    return f"Approval of run '{clean_name(notice.run_id)}' task '{clean_name(notice.task_id)}'"


def _is_address(assignee: str) -> bool:
    try:
        return bool(recipients_of(assignee))
    except TaskError:
        return False


def _letter(smtp: SmtpSettings, notice: Notice, link: str) -> EmailMessage:
    letter = EmailMessage()
    letter["From"] = smtp.sender
    letter["To"] = ", ".join(recipients_of(notice.assignee))
    letter["Subject"] = _subject(notice)
    # The same each time: a mailbox that has it drops a second one.
    letter["Message-ID"] = f"<approval.{notice.approval_id}@highway.invalid>"
    letter["Auto-Submitted"] = "auto-generated"
    until = "" if notice.expires_at is None else f"\nOpen until: {notice.expires_at:%Y-%m-%d %H:%M} UTC"
    letter.set_content(
        f"{notice.prompt}\n\n"
        f"Decide here: {link}\n\n"
        f"Workflow: {notice.workflow_name}\nRun: {notice.run_id}\nTask: {notice.task_id}{until}\n\n"
        "The link opens a page that asks; nothing is decided before you press a button there.\n"
        "It works once, for whoever has it: do not pass this message on.\n"
    )
    return letter


def _subject(notice: Notice) -> str:
    subject = f"Decision needed: {clean_name(notice.prompt)}"
    return subject if len(subject) <= _LONGEST_SUBJECT else f"{subject[: _LONGEST_SUBJECT - 1]}…"
