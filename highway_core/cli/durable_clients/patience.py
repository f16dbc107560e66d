"""Asking until there is an answer: for requests that only look, of who follows a run that goes on meanwhile."""

from __future__ import annotations

from collections.abc import Callable

from highway_core.cli.durable_clients.answers import NOBODY_THERE, RefusedError, Request, Transport, json_of
from highway_core.services.loop import Backoff
from highway_core.utils.clock import sleep

_AWAY = frozenset({502, 503, 504})
"""What the API says without its database, and a proxy without the API."""


class PatientTransport:
    """Says once that nobody answers, and asks again until somebody does."""

    def __init__(self, transport: Transport, say: Callable[[str], None], backoff: Backoff | None = None) -> None:
        self._transport = transport
        self._say = say
        self._backoff = backoff or Backoff()
        self._said = False

    def send(self, request: Request) -> tuple[int, bytes]:
        while True:
            try:
                status, body = self._transport.send(request)
                if status in _AWAY:
                    json_of(status, body)
            except RefusedError as error:
                if error.status not in _AWAY and error.code not in NOBODY_THERE:
                    raise
                self._met(error)
            else:
                self._answered()
                return status, body

    def close(self) -> None:
        self._transport.close()

    def _met(self, error: RefusedError) -> None:
        if not self._said:
            self._said = True
            self._say(f"The run goes on, but cannot be seen: {error} Asking again …")
        sleep(self._backoff.pause())

    def _answered(self) -> None:
        if self._said:
            self._said = False
            self._backoff.reset()
            self._say("The run can be seen again.")
