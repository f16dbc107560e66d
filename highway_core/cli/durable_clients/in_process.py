"""The API inside this process, over the database itself: the same requests and answers, with no server between."""

from __future__ import annotations

from werkzeug.test import Client

from highway_core.api.app import create_app
from highway_core.api.wiring import open_context
from highway_core.cli.durable_clients.answers import Request
from highway_core.cli.who import logged_in
from highway_core.config import Settings

_OWN_HOST = "127.0.0.1"


class InProcessTransport:
    """For who has the database's URL: may do everything, and is named in records as who is logged in."""

    def __init__(self, settings: Settings) -> None:
        self._client = Client(create_app(settings, open_context(settings, _OWN_HOST)))
        self._who = {"REMOTE_ADDR": logged_in()}

    def send(self, request: Request) -> tuple[int, bytes]:
        answer = self._client.open(
            request.path,
            method=request.method,
            base_url=f"http://{_OWN_HOST}",
            query_string=dict(request.query),
            json=request.body,
            headers={"Accept": "application/json", **(request.headers or {})},
            environ_overrides=self._who,
        )
        return answer.status_code, answer.get_data()

    def close(self) -> None:
        """Its connections end with the process."""
