"""``email.*``: mail through the SMTP server of the settings; without one it is logged instead."""

from __future__ import annotations

import hashlib
import logging
import smtplib
import ssl
from collections.abc import Sequence
from email.message import EmailMessage
from email.utils import make_msgid
from typing import Any

from highway_core.config import Settings, SmtpSettings
from highway_core.errors import TaskError
from highway_core.tools.context import current_context, tool_settings
from highway_core.tools.decorators import tool

_LOGGER = logging.getLogger(__name__)
_TIMEOUT = 30.0
_IMPLICIT_TLS_PORT = 465
_FINANCE_VARIABLE = "HIGHWAY_FINANCE_EMAIL"
_FINANCE_WHEN_LOGGED = "finance_queue@company.com"  # the seeds' address; real mail never goes there


@tool("email.send")
def send(to: str | Sequence[str], subject: str, body: str) -> dict[str, Any]:
    """Send plain text. ``sent`` is False where no server is set and the mail was only logged.

    A second attempt of the same task sends again, with the same Message-ID: mailboxes that know it drop the copy.
    """
    recipients = recipients_of(to)
    subject = " ".join(str(subject).split())
    settings = tool_settings()
    if settings.smtp is None:
        _LOGGER.info(
            "Mail to %s: %s (logged only: HIGHWAY_SMTP_HOST is not set)", ", ".join(recipients), subject or "no subject"
        )
        _LOGGER.debug("Its text: %s", body)
        return {"to": recipients, "subject": subject, "sent": False}
    message = EmailMessage()
    message["From"] = settings.smtp.sender
    message["To"] = ", ".join(recipients)
    message["Subject"] = subject
    message["Message-ID"] = _message_id(recipients, subject)
    message.set_content(str(body))
    deliver(settings.smtp, message)
    return {"to": recipients, "subject": subject, "sent": True}


@tool("email.send_approved_notification")
def send_approved_notification(email: str) -> None:
    """Tell an employee that the expense report was approved."""
    send(email, "Your expense report was approved.", "Your expense report was approved. The payment is under way.")


@tool("email.send_denied_notification")
def send_denied_notification(email: str) -> None:
    """Tell an employee that the expense report was denied."""
    send(email, "Your expense report was denied.", "Your expense report was denied. Please ask your manager.")


@tool("email.escalate_finance_queue")
def escalate_finance_queue(report_id: str, reason: str) -> None:
    """Put an overdue report before the finance team, whose address is ``HIGHWAY_FINANCE_EMAIL``."""
    send(
        _finance_address(tool_settings()),
        f"Overdue Report {report_id}. Reason: {reason}",
        f"Expense report {report_id} needs a decision.\n\nReason: {reason}",
    )


def _finance_address(settings: Settings) -> str:
    address = settings.finance_email
    if address:
        return address
    if settings.smtp is not None:
        raise TaskError(f"Mail is set up, but {_FINANCE_VARIABLE} is not: set it to the finance team's address.")
    return _FINANCE_WHEN_LOGGED


def recipients_of(to: str | Sequence[str]) -> list[str]:
    """The addresses in ``to``, which may be comma-separated; TaskError for what is none."""
    addresses = to.split(",") if isinstance(to, str) else list(to)
    cleaned = [str(address).strip() for address in addresses if str(address).strip()]
    for address in cleaned:
        name, at, host = address.partition("@")
        if not (name and at and host) or any(sign in address for sign in "\r\n\0"):
            raise TaskError(f"{address!r} is not a mail address.")
    if not cleaned:
        raise TaskError("The mail has no recipient.")
    return cleaned


def _message_id(recipients: list[str], subject: str) -> str:
    """The same for every attempt of a task instance."""
    context = current_context()
    if context is None or not context.idempotency_key:
        return make_msgid(domain="highway.invalid")
    mail = "\0".join((context.idempotency_key, *recipients, subject))
    return f"<{hashlib.sha256(mail.encode()).hexdigest()[:40]}@highway.invalid>"


def deliver(smtp: SmtpSettings, message: EmailMessage) -> None:
    """Hand a letter to the server; TaskError if it, or one of its recipients, is not taken."""
    try:
        with _connect(smtp) as server:
            if smtp.starttls:
                server.starttls(context=ssl.create_default_context())
            if smtp.user:
                server.login(smtp.user, smtp.password)
            refused = server.send_message(message)
    except (smtplib.SMTPException, OSError) as error:
        raise TaskError(f"Mail server {smtp.host}:{smtp.port}: {_said(error)}") from error
    if refused:
        raise TaskError(f"Mail server {smtp.host}:{smtp.port} refused {', '.join(refused)}; the others have the mail.")


def _connect(smtp: SmtpSettings) -> smtplib.SMTP:
    if smtp.port == _IMPLICIT_TLS_PORT:
        return smtplib.SMTP_SSL(smtp.host, smtp.port, timeout=_TIMEOUT, context=ssl.create_default_context())
    return smtplib.SMTP(smtp.host, smtp.port, timeout=_TIMEOUT)


def _said(error: Exception) -> str:
    """The server's own words, as text."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        answers = (f"{address}: {code} {_text(words)}" for address, (code, words) in error.recipients.items())
        return f"refused every recipient ({'; '.join(answers)})"
    if isinstance(error, smtplib.SMTPResponseException):
        return f"{error.smtp_code} {_text(error.smtp_error)}"
    return str(error) or type(error).__name__


def _text(words: bytes | str) -> str:
    return words.decode(errors="replace") if isinstance(words, bytes) else words
