"""``api.payment_gateway.pay``: a payment through the HTTP service of the settings; without one, a marked receipt."""

from __future__ import annotations

import logging
from typing import Any
from urllib.parse import urlsplit

import requests

from highway_core.errors import TaskError
from highway_core.tools.context import current_context, tool_settings
from highway_core.tools.decorators import tool

_LOGGER = logging.getLogger(__name__)
_TIMEOUT = (10.0, 30.0)
"""Seconds to connect, and to wait for each part of the answer."""
_SHOWN = 500
"""How much of a refusal's text goes into the error."""


@tool("api.payment_gateway.pay")
def pay(report_id: str, amount: float) -> dict[str, Any]:
    """Pay ``amount`` for a report and return the gateway's receipt.

    The gateway (``HIGHWAY_PAYMENT_GATEWAY_URL``) receives ``{"report_id", "amount"}`` with an ``Idempotency-Key``
    that is the same for every attempt of the task. Without a gateway the receipt says ``"simulated": True``.
    """
    url = tool_settings().payment_gateway_url
    if url is None:
        _LOGGER.info("Payment for report %s simulated: HIGHWAY_PAYMENT_GATEWAY_URL is not set", report_id)
        return {"status": "paid", "transaction_id": "txn_abc123", "simulated": True}
    context = current_context()
    headers = {"Idempotency-Key": context.idempotency_key} if context and context.idempotency_key else {}
    body = {"report_id": report_id, "amount": amount}
    try:
        # A redirected POST would become a GET: what redirects is not the gateway.
        answer = requests.post(url, json=body, headers=headers, timeout=_TIMEOUT, allow_redirects=False)
    except requests.RequestException as error:
        # The error's text names the URL with its query, which may hold a key.
        raise TaskError(f"Payment gateway {_place(url)} cannot be reached: {type(error).__name__}.") from None
    return _receipt(answer, url)


def _receipt(answer: requests.Response, url: str) -> dict[str, Any]:
    if not 200 <= answer.status_code < 300:
        raise TaskError(f"Payment gateway {_place(url)} answered {answer.status_code}: {answer.text[:_SHOWN]}")
    try:
        receipt = answer.json()
    except ValueError as error:
        raise TaskError(f"Payment gateway {_place(url)} answered with something that is not JSON.") from error
    if not isinstance(receipt, dict):
        raise TaskError(f"Payment gateway {_place(url)} answered with {type(receipt).__name__}, not with a receipt.")
    return receipt


def _place(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname or ''}{parts.path}"
