"""What an approval's link leads to.

A link only asks. Mail scanners, previews and browsers follow it with GET or HEAD and get a page; what decides is the
form on that page, which carries a nonce, or a program that says so: it accepts JSON and nothing else, or posts JSON.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Final
from urllib.parse import quote, urlsplit

from flask import Response, request

from highway_core.api.approval_models import Decided, LinkBody, LinkQuery, ReceiptQuery
from highway_core.api.approval_page import Question, closed_page, decided_page, plain_page, question_page
from highway_core.api.approval_previews import Previews
from highway_core.api.approval_problems import refusal_problem
from highway_core.api.bodies import read_body, reply
from highway_core.api.context import ApiContext
from highway_core.api.problems import ApiError, not_found
from highway_core.api.wrong_keys import WrongKeys
from highway_core.lifecycle import TaskStatus
from highway_core.persistence.approval_store import Approval, ApprovalStore, DecisionRefusedError, Refusal
from highway_core.utils.clock import utc_now
from highway_core.utils.secret_key import secret_key
from highway_core.utils.signatures import Signer

_log = logging.getLogger(__name__)
_JSON: Final = frozenset({"application/json", "application/problem+json"})
_FORM_SECONDS: Final = 4 * 3600
_RECEIPT_SECONDS: Final = 15 * 60
_UNKNOWN_TOKENS_A_MINUTE: Final = 1_000
"""Of all addresses together; one address has the limit of wrong keys."""


class LinkViews:
    """What a link leads to."""

    def __init__(self, context: ApiContext) -> None:
        self._settings = context.settings
        self._previews = Previews(context.reads)
        self._misses = WrongKeys()
        self._all_misses = WrongKeys(limit=_UNKNOWN_TOKENS_A_MINUTE)

    @cached_property
    def _key(self) -> bytes:
        """At the first link: an API that nobody uses for approvals needs no key."""
        return secret_key(self._settings.secret_key, self._settings.home)

    @property
    def _nonces(self) -> Signer:
        return Signer(self._key, "approval form", _FORM_SECONDS)

    @property
    def _receipts(self) -> Signer:
        return Signer(self._key, "approval receipt", _RECEIPT_SECONDS)

    def look(self, context: ApiContext, query: LinkQuery) -> Response:
        """GET and HEAD. Who asks for JSON alone decides; to anybody else it is a page, and nothing changes."""
        if _decides_by_get():
            return self._decide_as_program(context, query)
        if not query.token:
            return plain_page(400, "This link is not complete", "Copy it from the message as a whole.")
        approval = ApprovalStore(context.pool).by_token(query.token)
        if approval is None:
            return self._unknown_page()
        if approval.refusal is not None:
            return closed_page(approval, approval.refusal)
        return self._question(approval, query.token, wished=query.decision)

    def decide(self, context: ApiContext, query: LinkQuery) -> Response:
        """POST. A form needs the nonce of its page; a program says by its headers that it is one."""
        if request.is_json:
            body = read_body(LinkBody)
            merged = {name: value for name, value in body.model_dump().items() if value is not None}
            return self._decide_as_program(context, query.model_copy(update=merged))
        if _accepts_json():
            fields = {name: request.form[name] for name in LinkQuery.model_fields if name in request.form}
            return self._decide_as_program(context, query.model_copy(update=fields))
        return self._decide_by_form(context, request.form)

    def decided(self, context: ApiContext, query: ReceiptQuery) -> Response:
        """Without the token; the receipt names the approval for some minutes."""
        approval_id, _, signed = query.receipt.partition(".")
        approval = None
        if self._receipts.holds(signed, approval_id, utc_now()):
            approval = ApprovalStore(context.pool).by_id(approval_id)
        if approval is None:
            return plain_page(404, "There is nothing to see any more", "A decision that was taken stands all the same.")
        return decided_page(approval)

    def _decide_as_program(self, context: ApiContext, wish: LinkQuery) -> Response:
        for name in ("token", "decision"):
            if not getattr(wish, name):
                detail = "It takes 'token' and 'decision'."
                raise ApiError(400, "missing_parameter", f"'{name}' is missing", detail)
        store = ApprovalStore(context.pool)
        approval = store.by_token(str(wish.token))
        if approval is None:
            wait = self._missed()
            if wait:
                raise ApiError(429, "too_many_unknown_tokens", "Too many unknown tokens", headers=_retry_after(wait))
            raise not_found("unknown_token", "Not found")
        try:
            taken = store.decide(
                approval.approval_id, str(wish.decision), by=approval.assignee, via="token", comment=wish.comment
            )
        except DecisionRefusedError as refused:
            raise refusal_problem(refused) from None
        self._noted(taken)
        return reply(_answer(taken))

    def _decide_by_form(self, context: ApiContext, form: Mapping[str, str]) -> Response:
        if not _from_our_page(context):
            return plain_page(403, "Another site may not decide", "Open the link of the message itself.")
        token, comment = form.get("token", ""), form.get("comment", "")
        store = ApprovalStore(context.pool)
        approval = store.by_token(token)
        if approval is None:
            return self._unknown_page()
        if approval.refusal is not None:
            return closed_page(approval, approval.refusal)
        if not self._nonces.holds(form.get("nonce", ""), approval.token_hash, utc_now()):
            note = "Nothing has been decided yet: the page had been open for too long. Please choose again."
            return self._question(approval, token, comment=comment, note=note, status=403)
        try:
            taken = store.decide(
                approval.approval_id, form.get("decision", ""), by=approval.assignee, via="page", comment=comment
            )
        except DecisionRefusedError as refused:
            if refused.reason is Refusal.CHOICE:
                note = "Nothing has been decided yet: please choose one of the buttons."
                return self._question(approval, token, comment=comment, note=note, status=400)
            return closed_page(refused.approval, refused.reason)
        self._noted(taken)
        receipt = f"{taken.approval_id}.{self._receipts.sign(taken.approval_id, utc_now())}"
        response = plain_page(303, "Your decision is stored")
        # Relative, so that it holds behind whatever path a proxy has put before ours; and without the token.
        response.headers["Location"] = f"decided?receipt={quote(receipt)}"
        response.autocorrect_location_header = False
        return response

    def _question(self, approval: Approval, token: str, *, status: int = 200, **more: Any) -> Response:
        nonce = self._nonces.sign(approval.token_hash, utc_now())
        return question_page(Question(approval, token, nonce, self._previews.of(approval), **more), status)

    def _unknown_page(self) -> Response:
        wait = self._missed()
        if not wait:
            return plain_page(404, "Not found")
        response = plain_page(429, "Too many unknown links")
        response.headers.update(_retry_after(wait))
        return response

    def _missed(self) -> float:
        """Note an unknown token; the seconds to wait before the next one. Known tokens never wait: nobody guesses one,
        and whoever shares an address with a guesser can still decide."""
        address = request.remote_addr or "unknown"
        self._misses.note(address)
        self._all_misses.note("")
        return max(self._misses.wait(address), self._all_misses.wait(""))

    @staticmethod
    def _noted(approval: Approval) -> None:
        agent = (request.user_agent.string or "")[:200]
        about = {"run_id": approval.run_id, "task_id": approval.task_id, "address": request.remote_addr}
        _log.info("decision through a link", extra={**about, "agent": agent})


def _answer(taken: Approval) -> Decided:
    assert taken.decision is not None  # noqa: S101 - it has just been taken
    assert taken.decided_at is not None  # noqa: S101
    return Decided(
        message="Workflow task resumed",
        workflow_id=taken.run_id,
        task_id=taken.task_id,
        status=TaskStatus.COMPLETED.upper(),
        decision=taken.decision,
        decided_at=taken.decided_at,
        decided_by=taken.decided_by or "",
        comment=taken.comment,
    )


def _decides_by_get() -> bool:
    """True for a program that asks for JSON and would take nothing else; no browser, scanner or preview does that."""
    if request.method != "GET" or _is_prefetch():
        return False
    kinds = [kind for kind, quality in request.accept_mimetypes if quality > 0]
    return bool(kinds) and all(kind.partition(";")[0].strip() in _JSON for kind in kinds)


def _accepts_json() -> bool:
    """Whether a POST comes from a program: it names JSON, and no page."""
    kinds = {kind.partition(";")[0].strip() for kind, quality in request.accept_mimetypes if quality > 0}
    return bool(kinds & _JSON) and "text/html" not in kinds


def _is_prefetch() -> bool:
    said = (request.headers.get(name, "") for name in ("Purpose", "Sec-Purpose", "X-Purpose", "X-Moz"))
    return any("prefetch" in one.lower() or "preview" in one.lower() for one in said)


def _from_our_page(context: ApiContext) -> bool:
    """False if a browser says that the form stood on another site. Ours asks for no referrer, and its forms are then
    sent with the Origin ``null``: that alone is no sign."""
    if request.headers.get("Sec-Fetch-Site", "none") not in {"same-origin", "none"}:
        return False
    origin = request.headers.get("Origin", "null").casefold()
    public = urlsplit(context.public_url)
    ours = {f"{public.scheme}://{public.netloc}", f"http://{request.host}", f"https://{request.host}"}
    return origin == "null" or origin in {one.casefold() for one in ours}


def _retry_after(seconds: float) -> dict[str, str]:
    return {"Retry-After": str(int(seconds) + 1)}
