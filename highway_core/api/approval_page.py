"""The pages behind an approval's link: the question, what stands once it is decided, and what a link may be besides.

They need no script, load nothing, and name what may be in them: the one style sheet, by its hash.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from flask import Response, make_response, render_template
from markupsafe import Markup

from highway_core.engine.decision_preview import NextTask, Preview
from highway_core.persistence.approval_store import MAX_COMMENT, Approval, Refusal
from highway_core.utils.clock import utc_now

_STYLE: Final = (Path(__file__).parent / "templates" / "approval.css").read_text(encoding="utf-8")
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode("ascii")
_POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {
    "Content-Security-Policy": _POLICY,
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex, nofollow",
}
_MOST_TASKS: Final = 12
"""Of those that follow, as many are listed."""
_WORDS: Final = {"APPROVED": ("Approve", "yes"), "DENIED": ("Deny", "no")}
_TITLES: Final = {
    Refusal.DECIDED: "This has been decided",
    Refusal.EXPIRED: "The time for this decision is over",
    Refusal.RUN_OVER: "This decision is not needed any more",
    Refusal.CANCELLED: "This decision is not needed any more",
}
_HINTS: Final = {
    Refusal.DECIDED: "The first decision stands. Nothing has been changed now.",
    Refusal.EXPIRED: "The workflow has gone on, or is about to, as it does where nobody decides in time.",
    Refusal.RUN_OVER: "The run is over. Nothing has been changed now.",
    Refusal.CANCELLED: "The task does not wait for it. If it asks again, you get a new link.",
}


@dataclass(frozen=True, slots=True)
class _Choice:
    """One button, and what it leads to."""

    value: str
    label: str
    word: str
    kind: str
    tasks: Sequence[NextTask]
    asked: bool


@dataclass(frozen=True, slots=True)
class Question:
    """What the page that asks is made of."""

    approval: Approval
    token: str
    nonce: str
    preview: Preview | None
    wished: str | None = None
    """The decision that the link itself speaks of; it is only pointed at."""
    comment: str = ""
    note: str = ""
    """What went wrong before."""


def question_page(question: Question, status: int = 200) -> Response:
    """The question with its buttons."""
    approval, preview = question.approval, question.preview
    follows: Mapping[str, Sequence[NextTask]] = preview.choices if preview else {}
    choices = []
    for value in approval.choices:
        label, kind = _WORDS.get(value, (value, "other"))
        word = f"If you choose “{label}”"
        choices.append(_Choice(value, label, word, kind, follows.get(value, ()), value == question.wished))
    return _page(
        "approval.html",
        status,
        title="A decision is needed",
        approval=approval,
        left=_time_left(approval.expires_at),
        token=question.token,
        nonce=question.nonce,
        note=question.note,
        comment=question.comment,
        preview=preview,
        tells_apart=any(follows.values()),
        choices=choices,
        most=_MOST_TASKS,
        max_comment=MAX_COMMENT,
    )


def closed_page(approval: Approval, refusal: Refusal) -> Response:
    """What came of an approval that nobody can decide any more: 409 if it was decided, else 410."""
    status = 409 if refusal is Refusal.DECIDED else 410
    return _page("approval_closed.html", status, title=_TITLES[refusal], approval=approval, hint=_HINTS[refusal])


def decided_page(approval: Approval) -> Response:
    """What is shown to the one who has just decided."""
    said = "Your decision is stored, and the workflow goes on."
    hint = "You can close this page."
    return _page("approval_closed.html", 200, title="Thank you", approval=approval, said=said, hint=hint)


def plain_page(status: int, title: str, hint: str = "") -> Response:
    """A page that tells of no approval."""
    return _page("approval_closed.html", status, title=title, approval=None, hint=hint)


def moment_text(moment: datetime) -> str:
    """``23 Nov 2026, 12:19 UTC``."""
    return f"{moment.day} {moment:%b %Y, %H:%M} UTC"


def _page(template: str, status: int, **values: Any) -> Response:
    text = render_template(template, style=Markup(_STYLE), **values)  # noqa: S704 - our own file
    response = make_response(text, status)
    response.headers.update(_HEADERS)
    return response


def _time_left(until: datetime | None) -> str:
    """The two largest units: ``2 days 5 hours``."""
    left = timedelta() if until is None else until - utc_now()
    minutes = int(left.total_seconds() // 60)
    if minutes < 1:
        return "less than a minute" if left > timedelta() else ""
    units = ((minutes // 1440, "day"), (minutes // 60 % 24, "hour"), (minutes % 60, "minute"))
    named = [f"{number} {unit}{'s' if number != 1 else ''}" for number, unit in units if number]
    return " ".join(named[:2])
