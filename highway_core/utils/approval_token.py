"""The token of an approval's link: derived from the approval's id, so that it can be sent again and is stored nowhere.

The id is random and no secret; only who has the installation's key can make the token from it. The database holds the
token's SHA-256, which finds the approval that a link belongs to.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field
from typing import Final

_PURPOSE: Final = b"highway approval token\0"
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)
_ID_BYTES: Final = 18
"""144 random bits: nobody meets an id by guessing either."""


@dataclass(frozen=True, slots=True)
class NewApproval:
    """What a task that begins to wait for a person is given; made once for each activation."""

    approval_id: str
    token: str = field(repr=False)
    token_hash: str
    """What is stored of the token."""


def new_approval(key: bytes) -> NewApproval:
    """An approval nobody has seen yet; ``key`` is that of :func:`~highway_core.utils.secret_key.secret_key`."""
    approval_id = secrets.token_urlsafe(_ID_BYTES)
    token = approval_token(key, approval_id)
    return NewApproval(approval_id, token, token_digest(token))


def approval_token(key: bytes, approval_id: str) -> str:
    """The token of an approval: 43 URL-safe characters, the same each time under the same key."""
    digest = hmac.new(key, _PURPOSE + approval_id.encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")


def token_digest(token: str) -> str:
    """What is stored of a token: who reads the database cannot answer in anybody's place."""
    return hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()


def looks_like_token(text: str) -> bool:
    """False for what cannot be a token, so that nobody need look for it."""
    return _TOKEN.fullmatch(text) is not None
