"""The application: ``create_app(settings)`` makes it, ``run_server()`` serves it with waitress.

``api.app.app`` of the existing library is made when it is first asked for.
"""

from __future__ import annotations

import logging
from functools import cache
from typing import Any

from flask import Flask, Response

from highway_core.api import health_routes, problems, run_routes, signal_routes, start_routes, wire_routes
from highway_core.api.approval_routes import register_approvals
from highway_core.api.context import ApiContext
from highway_core.api.wiring import open_context
from highway_core.config import Settings, current_settings
from highway_core.tools.artifacts import MAX_BYTES

_log = logging.getLogger(__name__)
_ROUTES = (start_routes, run_routes, signal_routes, wire_routes, health_routes)
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_IDLE_SECONDS = 60
_CONNECTIONS = 1_000
_HEADER_BYTES = 64 * 1024


def create_app(settings: Settings | None = None, context: ApiContext | None = None) -> Flask:
    """The application over the database of ``settings``; ``context`` replaces what it would open there."""
    if context is None:
        context = open_context(settings or current_settings())
    app = Flask(__name__, static_folder=None)
    app.config.update(
        MAX_CONTENT_LENGTH=context.settings.max_body_bytes,
        MAX_FORM_MEMORY_SIZE=64 * 1024,
        MAX_FORM_PARTS=10,
        PROVIDE_AUTOMATIC_OPTIONS=False,
        PROPAGATE_EXCEPTIONS=False,
    )
    problems.install(app)
    for module in _ROUTES:
        module.routes.register(app, context)
    register_approvals(app, context)
    app.after_request(_secured)
    return app


def run_server(
    host: str | None = None,
    port: int | None = None,
    settings: Settings | None = None,
    context: ApiContext | None = None,
) -> None:
    """Serve until KeyboardInterrupt; without a ``context``, StorageError if the database cannot be reached now."""
    settings = settings or current_settings()
    host, port = host or settings.api_host, port or settings.api_port
    context = context or open_context(settings, host, port)
    server = make_server(create_app(settings, context), settings, host, port)
    _log.info("the API listens on http://%s:%d%s", host, port, " (keys required)" if context.keys_required else "")
    try:
        server.run()  # on KeyboardInterrupt it gives requests five seconds to finish
    finally:
        context.polls.close()
        context.runs.close()
        context.pool.close()


def make_server(app: Flask, settings: Settings, host: str, port: int) -> Any:
    """A waitress server that is bound and not yet run."""
    from waitress import create_server  # noqa: PLC0415 - whoever only makes an application needs no server

    return create_server(
        app,
        host=host,
        port=port,
        threads=settings.api_threads,
        ident=None,
        connection_limit=_CONNECTIONS,
        channel_timeout=_IDLE_SECONDS,
        max_request_header_size=_HEADER_BYTES,
        max_request_body_size=max(settings.max_body_bytes, MAX_BYTES) * 2,
        clear_untrusted_proxy_headers=True,
        asyncore_use_poll=True,
    )


def _secured(response: Response) -> Response:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    return response


@cache
def _default_app() -> Flask:
    return create_app()


def __getattr__(name: str) -> Any:
    """``app`` of the existing library."""
    if name == "app":
        return _default_app()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
