"""Who may: API keys as bearer tokens, scopes, and a limit on wrong guesses.

Where the API is bound to this machine alone, a request without a key may do everything; but then a browser that was
led here by another site must not (its Origin, or its Host where a foreign name was pointed at this machine, tell it).
A key that is given is always checked.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

from flask import g, request

from highway_core.api.context import ApiContext
from highway_core.api.problems import ApiError
from highway_core.persistence.api_keys import ApiKey, Scope


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent this request; ``key`` is None for somebody on this machine without one."""

    key: ApiKey | None
    address: str

    @property
    def by(self) -> str:
        """The caller as records name it."""
        return f"key:{self.key.key_id} ({self.key.name})" if self.key else f"local:{self.address}"

    def allows(self, scope: Scope) -> bool:
        """True if this caller may use what asks for ``scope``."""
        return self.key is None or self.key.allows(scope)


def caller() -> Caller:
    """Who sent this request; only in views whose route has a scope."""
    found: Caller = g.highway_caller
    return found


def authorise(context: ApiContext, scope: Scope | None) -> None:
    """Let the request in, or raise the ApiError that says why not. ``scope`` None: everybody."""
    address = request.remote_addr or "unknown"
    if scope is None:
        g.highway_caller = Caller(None, address)
        return
    given = request.headers.get("Authorization")
    if given is None:
        _without_key(context)
        g.highway_caller = Caller(None, address)
        return
    key = _checked(context, given, address)
    if not key.allows(scope):
        detail = f"The key '{key.key_id}' lacks the scope '{scope}'."
        raise ApiError(403, "missing_scope", "The key does not allow this", detail, scope=str(scope))
    g.highway_caller = Caller(key, address)


def is_loopback(host: str) -> bool:
    """True if only this machine reaches a server that is bound to ``host``."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _checked(context: ApiContext, given: str, address: str) -> ApiKey:
    scheme, _, text = given.partition(" ")
    text = text.strip()
    key = context.keys.remembered(text)
    if key is not None and scheme.lower() == "bearer":
        return key
    wait = context.wrong_keys.wait(address)
    if wait:
        headers = {"Retry-After": str(int(wait) + 1)}
        raise ApiError(429, "too_many_wrong_keys", "Too many wrong keys", "Wait, then try again.", headers=headers)
    key = context.keys.check(text) if scheme.lower() == "bearer" else None
    if key is None:
        context.wrong_keys.note(address)
        raise _unauthorised("The key is unknown, expired or revoked.")
    return key


def _without_key(context: ApiContext) -> None:
    if context.keys_required:
        raise _unauthorised("This needs an API key: 'Authorization: Bearer hw_k1_…' (make one: durable keys create).")
    ours = {context.public_url.casefold(), *_origins(request.host)}
    origin = request.headers.get("Origin")
    foreign = origin is not None and origin.casefold() not in ours
    if foreign or request.headers.get("Sec-Fetch-Site", "none") not in {"none", "same-origin"}:
        raise ApiError(403, "foreign_origin", "Another site may not do this", "Use an API key.")
    host = (urlsplit(f"//{request.host}").hostname or "").casefold()
    if not is_loopback(host) and host != (urlsplit(context.public_url).hostname or "").casefold():
        raise ApiError(403, "foreign_host", "This name is not one of this machine's", "Use an API key.")


def _origins(host: str) -> tuple[str, str]:
    return f"http://{host}".casefold(), f"https://{host}".casefold()


def _unauthorised(detail: str) -> ApiError:
    return ApiError(401, "unauthorised", "No valid API key", detail, headers={"WWW-Authenticate": "Bearer"})
