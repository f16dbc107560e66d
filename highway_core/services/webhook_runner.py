"""Delivers the webhooks that are stored in a database: claims them, sends them, and writes down what came of it.

A webhook is sent at least once. Whoever claims it holds it for a while; a runner that dies loses it to the next one,
which is why ``X-Highway-Delivery`` is the same for every attempt. Any number of runners may be at work. A receiver that
must wait for its turn (a limit for each host) is put off, which counts as no attempt.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlsplit

from highway_core.config import current_settings
from highway_core.errors import StorageError, TaskError
from highway_core.persistence.database import DatabaseManager
from highway_core.persistence.webhook_status import WebhookStatus
from highway_core.tools.http_client import Answer, Call, check_scheme, exchange, shown_url
from highway_core.tools.webhook import SIGNING_KEY, HostPace, signature
from highway_core.utils.clock import utc_now

_logger = logging.getLogger(__name__)
_TIMEOUT = 30
"""Seconds for one request."""
_POLL = 1.0
"""Seconds until the next look when nothing was due."""
_AFTER_FAILURE = 10.0
"""Seconds until the next look when the database did not answer."""
_KEPT_BODY = 10_000
"""How much of an answer is stored."""
_NO_ANSWER = 0
"""The response status of a webhook whose receiver never answered."""

_T = TypeVar("_T")
Row = dict[str, Any]


class WebhookRunner:
    """Sends up to ``batch_size`` webhooks a pass, ``concurrency`` of them at the same time."""

    def __init__(
        self,
        batch_size: int = 100,
        concurrency: int = 10,
        rate_limit_per_second: float = 10,
        db_manager: DatabaseManager | None = None,
    ) -> None:
        self.batch_size = batch_size
        self.concurrency = concurrency
        self.rate_limit_per_second = rate_limit_per_second
        """Requests to one host, all webhooks together."""
        self.db_manager = db_manager or DatabaseManager()
        self._pool = ThreadPoolExecutor(concurrency, thread_name_prefix="highway-webhook")
        self._pace = HostPace()
        self._own_pace = HostPace()
        self._stopping = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def run(self) -> None:
        """Deliver until :meth:`stop` is called; what is being sent then is sent to its end."""
        self._loop = asyncio.get_running_loop()
        try:
            while not self._stopping.is_set():
                await self._wait(await self._pass_and_pause())
        finally:
            self._pool.shutdown(wait=False)

    def stop(self) -> None:
        """End :meth:`run` after the pass that it is in. Safe in a signal handler and in any thread."""
        if self._loop is None:
            self._stopping.set()
        else:
            self._loop.call_soon_threadsafe(self._stopping.set)

    async def run_once(self) -> Counter[WebhookStatus]:
        """One pass: claim what is due and try to deliver it; how many got which status."""
        rounds = -(-self.batch_size // self.concurrency)
        claimed = await self._in_thread(
            lambda: self.db_manager.claim_ready_webhooks(self.batch_size, lease_seconds=_TIMEOUT * (rounds + 1))
        )
        outcomes = await asyncio.gather(*(self._in_thread(partial(self._deliver, row)) for row in claimed))
        return Counter(outcomes)

    async def _pass_and_pause(self) -> float:
        """One pass; the seconds until the next one."""
        try:
            counts = await self.run_once()
        except StorageError as error:
            _logger.warning("Webhooks wait for the database: %s", error)
            return _AFTER_FAILURE
        return 0.0 if counts[WebhookStatus.SENT] else _POLL

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    async def _wait(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    def _deliver(self, row: Row) -> WebhookStatus:
        """On a thread of the pool."""
        seconds = self._until_its_turn(row)
        if seconds > 0:
            self.db_manager.postpone_webhook(row["id"], seconds, row["fence"])
            return WebhookStatus.RETRY_SCHEDULED
        try:
            answer = _send(row)
        except TaskError as error:
            return self._missed(row, _NO_ANSWER, {}, str(error))
        if not 200 <= answer.status < 300:
            return self._missed(row, answer.status, answer.headers, answer.text)
        self.db_manager.update_webhook_response(
            row["id"], answer.status, answer.headers, answer.text[:_KEPT_BODY], fence=row["fence"]
        )
        _logger.info("Webhook %s delivered to %s", row["id"], shown_url(row["url"]))
        return WebhookStatus.SENT

    def _missed(self, row: Row, status: int, headers: dict[str, str], said: str) -> WebhookStatus:
        """Not delivered: try again later, or give it up."""
        _logger.info("Webhook %s to %s failed: %d %s", row["id"], shown_url(row["url"]), status, said[:200])
        if row["retry_count"] < row["max_retries"]:
            self.db_manager.schedule_webhook_retry(row["id"], row["fence"])
            return WebhookStatus.RETRY_SCHEDULED
        self.db_manager.update_webhook_response(
            row["id"], status, headers, said[:_KEPT_BODY], success=False, fence=row["fence"]
        )
        return WebhookStatus.FAILED

    def _until_its_turn(self, row: Row) -> float:
        host = urlsplit(row["url"]).netloc.rpartition("@")[2].lower()
        burst = max(1, int(self.rate_limit_per_second))
        seconds = self._pace.turn(host, burst, burst / self.rate_limit_per_second)
        return seconds or self._own_pace.turn(host, row["rate_limit_requests"], row["rate_limit_window"])


async def run_webhook_runner() -> None:
    """Deliver the webhooks of the settings' database, for ever."""
    await WebhookRunner().run()


def _send(row: Row) -> Answer:
    """TaskError if there is no answer."""
    body = json.dumps(row["payload"], ensure_ascii=False).encode()
    name = f"{row['method']} {shown_url(row['url'])}"
    check_scheme(row["url"], name)
    headers = {
        "Content-Type": "application/json",
        "X-Highway-Event": row["webhook_type"],
        "X-Highway-Task": row["task_id"] or "",
        "X-Highway-Delivery": row["delivery_id"],
        **row["headers"],
    }
    key = current_settings().secret(SIGNING_KEY)
    if key:
        headers["X-Highway-Signature"] = signature(key, body, int(utc_now().timestamp()))
    # Not redirected: the signature and the payload are for this receiver.
    return exchange(Call(row["method"], row["url"], headers, data=body, timeout=_TIMEOUT, follow_redirects=False))
