"""``tools.webhook.post``: tell a URL that something happened, with retries, a rate limit and a signature.

The request goes out when the task runs. A receiver can check it: with the secret ``WEBHOOK_SIGNING_KEY`` set, the
header ``X-Highway-Signature: t=<unix time>,v1=<hex>`` holds the HMAC-SHA256 of ``<unix time>.<body>`` under that key.
``X-Highway-Delivery`` is the same for every attempt of one delivery.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import secrets
import threading
import uuid
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from highway_core.errors import TaskError, TaskStoppedError
from highway_core.tools.context import current_context, tool_settings
from highway_core.tools.decorators import tool
from highway_core.tools.http_client import Call, check_scheme, exchange, shown_url
from highway_core.utils.clock import SystemClock, utc_now
from highway_core.utils.stopping import StopScope

SIGNING_KEY: Final = "WEBHOOK_SIGNING_KEY"
TRIGGERS: Final = ("on_start", "on_completed", "on_failed")
_LOGGER = logging.getLogger(__name__)
_TIMEOUT = 30
_FIRST_DELAY = 1.0
"""Seconds before the first retry; doubled for each one after it, with up to a tenth more by chance."""
_REMEMBERED = 10_000
"""Requests to one host that are looked back on."""
_RANDOM = secrets.SystemRandom()


@dataclass(frozen=True, slots=True)
class _Hook:
    """One delivery, ready to be sent any number of times."""

    url: str
    headers: Mapping[str, str]
    body: bytes
    retries: int
    requests: int
    """How many requests may go to this host …"""
    window: float
    """… within so many seconds."""


@tool("tools.webhook.post", stoppable=True)
def post(  # noqa: PLR0913, PLR0917 - the existing library's signature
    task_name: str,
    trigger_on: str,
    url: str,
    headers: Mapping[str, str] | None = None,
    payload: Mapping[str, Any] | None = None,
    max_retries: int = 3,
    rate_limit_requests: int = 10,
    rate_limit_window: float = 60,
) -> dict[str, Any]:
    """POST ``payload`` as JSON; ``success`` says whether a 2xx answer came back within ``max_retries`` retries.

    Without a payload the receiver gets ``{event, task_id, workflow_id, timestamp}``. A delivery that does not get
    through is no failure of the task: it returns ``{"success": False, "error"}``.
    """
    try:
        content = dict(payload) if payload else _event(task_name, trigger_on)
        _check(trigger_on, max_retries, rate_limit_requests, rate_limit_window)
        check_scheme(url, f"POST {shown_url(url)}")
        body = json.dumps(content, ensure_ascii=False, allow_nan=False).encode()
        given = {str(name): str(value) for name, value in (headers or {}).items()}
        own = _own_headers(task_name, trigger_on)
        _deliver(_Hook(url, own | given, body, max_retries, rate_limit_requests, rate_limit_window))
    except TaskStoppedError:
        raise
    except (TaskError, TypeError, ValueError) as error:
        _LOGGER.warning("Webhook of task %s was not delivered: %s", task_name, error)
        return {"success": False, "error": str(error)}
    return {
        "success": True,
        "message": f"Webhook for task '{task_name}' ({trigger_on}) delivered.",
        "task": task_name,
        "trigger": trigger_on,
        "url": url,
        "method": "POST",
        "headers": given,
        "payload": content,
    }


def signature(key: str, body: bytes, moment: int) -> str:
    """The value of ``X-Highway-Signature`` for ``body`` sent at ``moment`` (unix time)."""
    digest = hmac.new(key.encode(), f"{moment}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={moment},v1={digest}"


def _check(trigger_on: str, max_retries: int, requests: int, window: float) -> None:
    if trigger_on not in TRIGGERS:
        raise TaskError(f"trigger_on must be one of {', '.join(TRIGGERS)}, not {trigger_on!r}.")
    if not isinstance(max_retries, int) or max_retries < 0:
        raise TaskError(f"max_retries must be a whole number, zero or above, not {max_retries!r}.")
    if not isinstance(requests, int) or requests < 1 or not isinstance(window, int | float) or not window > 0:
        raise TaskError("rate_limit_requests and rate_limit_window must be numbers above zero.")


def _event(task_name: str, trigger_on: str) -> dict[str, Any]:
    context = current_context()
    return {
        "event": trigger_on,
        "task_id": task_name,
        "workflow_id": context.run_id if context else None,
        "timestamp": utc_now().isoformat(),
    }


def _own_headers(task_name: str, trigger_on: str) -> dict[str, str]:
    context = current_context()
    key = context.idempotency_key if context else ""
    return {
        "Content-Type": "application/json",
        "X-Highway-Event": trigger_on,
        "X-Highway-Task": task_name,
        "X-Highway-Delivery": key or str(uuid.uuid4()),
    }


def _deliver(hook: _Hook) -> None:
    """Until the receiver has answered with a 2xx; TaskError tells the last problem when the retries are used up."""
    context = current_context()
    stop = context.stop if context else StopScope()
    delay = _FIRST_DELAY
    for attempt in range(hook.retries + 1):
        if attempt:
            _wait(stop, delay * _RANDOM.uniform(1.0, 1.1))
            delay *= 2
        _await_turn(hook, stop)
        problem = _send(hook)
        if problem is None:
            return
        _LOGGER.debug("Webhook attempt %d failed: %s", attempt + 1, problem)
    raise TaskError(f"not delivered in {hook.retries + 1} attempts; the last one: {problem}")


def _send(hook: _Hook) -> str | None:
    """What went wrong, or None."""
    key = tool_settings().secret(SIGNING_KEY)
    moment = int(utc_now().timestamp())
    signed = {"X-Highway-Signature": signature(key, hook.body, moment)} if key else {}
    # Not redirected: the signature and the payload are for this receiver.
    call = Call("POST", hook.url, {**hook.headers, **signed}, data=hook.body, timeout=_TIMEOUT, follow_redirects=False)
    try:
        answer = exchange(call)
    except TaskStoppedError:
        raise
    except TaskError as error:
        return str(error)
    return None if 200 <= answer.status < 300 else f"{call.name}: {answer.problem()}"


def _await_turn(hook: _Hook, stop: StopScope) -> None:
    host = urlsplit(hook.url).netloc.rpartition("@")[2].lower()
    while (seconds := _PACE.turn(host, hook.requests, hook.window)) > 0:
        _wait(stop, seconds)


def _wait(stop: StopScope, seconds: float) -> None:
    if stop.wait(seconds):
        stop.check()


class HostPace:
    """When requests went to which host, in this process. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sent: dict[str, deque[float]] = {}
        self._monotonic = SystemClock().monotonic

    def turn(self, host: str, requests: int, window: float) -> float:
        """Zero: it is this request's turn, and it counts from now on. Else the seconds until it may ask again."""
        now = self._monotonic()
        with self._lock:
            sent = self._sent.setdefault(host, deque(maxlen=_REMEMBERED))
            recent = [moment for moment in sent if moment > now - window]
            if len(recent) >= requests:
                return recent[-requests] + window - now
            sent.append(now)
            return 0.0


_PACE = HostPace()
