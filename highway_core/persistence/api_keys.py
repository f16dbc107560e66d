"""API keys: ``hw_k1_<id>_<secret>``, of which the database knows the id and the SHA-256 of the secret.

The secret has 256 random bits, so a fast hash is the right one: there is nothing to guess. A process remembers a key
that it has checked for two seconds, so that is how long a revoked key may still be used.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from highway_core.errors import ConfigError
from highway_core.persistence.durable_connection import ConnectionPool
from highway_core.persistence.statements import keys as sql
from highway_core.utils.clock import Clock, SystemClock

_REMEMBERED_SECONDS = 2.0
_TOUCH_SECONDS = 60.0
_MOST_REMEMBERED = 1_000
_KEY = re.compile(r"hw_k1_([0-9a-f]{16})_([A-Za-z0-9_-]{20,100})")
_NOBODYS_HASH = hashlib.sha256(b"").hexdigest()


class Scope(StrEnum):
    """What a key lets its holder do."""

    RUNS_READ = "runs:read"
    RUNS_WRITE = "runs:write"
    APPROVALS_READ = "approvals:read"
    APPROVALS_DECIDE = "approvals:decide"
    EVENTS_WRITE = "events:write"
    ARTIFACTS_WRITE = "artifacts:write"
    ADMIN = "admin"
    """Everything."""


_SCOPES = frozenset(scope.value for scope in Scope)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key without its secret."""

    key_id: str
    name: str
    scopes: frozenset[Scope]
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None

    def allows(self, scope: Scope) -> bool:
        """True if the key may be used where ``scope`` is asked for."""
        return scope in self.scopes or Scope.ADMIN in self.scopes


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made; ``text`` is shown once and never again."""

    key_id: str
    text: str = field(repr=False)


@dataclass(slots=True)
class _Remembered:
    key: ApiKey
    until: float
    touch_at: float


class ApiKeys:
    """The keys of one database. Thread-safe."""

    def __init__(self, pool: ConnectionPool, clock: Clock | None = None) -> None:
        self._pool = pool
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._remembered: OrderedDict[str, _Remembered] = OrderedDict()

    def create(self, name: str, scopes: Iterable[Scope], expires_at: datetime | None = None) -> NewKey:
        """Make a key; ConfigError without a name or a scope."""
        wanted = sorted(set(scopes))
        if not wanted or not name.strip():
            raise ConfigError("An API key needs a name and at least one scope.")
        key_id, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
        with self._pool.connection() as connection:
            connection.run(sql.INSERT_KEY, (key_id, _hashed(secret), name, json.dumps(wanted), expires_at))
        return NewKey(key_id, f"hw_k1_{key_id}_{secret}")

    def all(self) -> list[ApiKey]:
        """Every key, the oldest first."""
        with self._pool.connection() as connection:
            return [_key(*row) for row in connection.fetch(sql.SELECT_KEYS)]

    def revoke(self, key_id: str) -> bool:
        """End a key at once (elsewhere within two seconds); False if there is none or it has ended before."""
        with self._pool.connection() as connection:
            revoked = connection.run(sql.REVOKE_KEY, (key_id,)) == 1
        with self._lock:
            stale = [digest for digest, known in self._remembered.items() if known.key.key_id == key_id]
            for digest in stale:
                del self._remembered[digest]
        return revoked

    def check(self, text: str) -> ApiKey | None:
        """The key that ``text`` is, or None if it is none, has expired or was revoked."""
        match = _KEY.fullmatch(text)
        if match is None:
            return None
        digest = _hashed(text)
        remembered = self.remembered(text)
        if remembered is not None:
            return remembered
        key_id, secret = match.groups()
        with self._pool.connection() as connection:
            rows = connection.fetch(sql.SELECT_KEY, (key_id,))
            *columns, stored, usable = rows[0] if rows else (None, _NOBODYS_HASH, False)
            # Compared even where there is no such key, so that the time taken does not tell.
            if not hmac.compare_digest(_hashed(secret), stored) or not usable:
                return None
            key = _key(*columns)
            self._remember(digest, key)
            if self._is_to_be_touched(digest):
                connection.run(sql.TOUCH_KEY, (key_id,))
        return key

    def remembered(self, text: str) -> ApiKey | None:
        """The key if it was checked a moment ago; asks no database."""
        with self._lock:
            known = self._remembered.get(_hashed(text))
            return known.key if known is not None and known.until > self._clock.monotonic() else None

    def _remember(self, digest: str, key: ApiKey) -> None:
        with self._lock:
            before = self._remembered.pop(digest, None)
            touch_at = before.touch_at if before is not None else self._clock.monotonic()
            until = self._clock.monotonic() + _REMEMBERED_SECONDS
            self._remembered[digest] = _Remembered(key, until, touch_at)
            while len(self._remembered) > _MOST_REMEMBERED:
                self._remembered.popitem(last=False)

    def _is_to_be_touched(self, digest: str) -> bool:
        with self._lock:
            known = self._remembered.get(digest)
            if known is None or known.touch_at > self._clock.monotonic():
                return False
            known.touch_at = self._clock.monotonic() + _TOUCH_SECONDS
            return True


def _hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _key(
    key_id: str,
    name: str,
    scopes: str,
    *moments: datetime | None,
) -> ApiKey:
    created, expires, revoked, used = moments
    assert created is not None  # noqa: S101 - the column is NOT NULL
    known = frozenset(Scope(one) for one in json.loads(scopes) if one in _SCOPES)
    return ApiKey(key_id, name, known, created, expires, revoked, used)
