"""Small signed texts that a browser carries for us and that expire: the nonce of a form, the receipt of a decision."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from datetime import datetime

_RANDOM_BYTES = 9


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs for one purpose, and for so many seconds: what was signed for another purpose does not hold here."""

    key: bytes = field(repr=False)
    purpose: str
    seconds: int

    def sign(self, subject: str, now: datetime) -> str:
        """``<end>.<random>.<signature>`` for ``subject``; never the same twice."""
        head = f"{int(now.timestamp()) + self.seconds}.{secrets.token_urlsafe(_RANDOM_BYTES)}"
        return f"{head}.{self._signature(head, subject)}"

    def holds(self, signed: str, subject: str, now: datetime) -> bool:
        """True if ``signed`` was signed here for ``subject`` and is not past its end."""
        head, _, signature = signed.rpartition(".")
        if not hmac.compare_digest(signature.encode(errors="replace"), self._signature(head, subject).encode()):
            return False
        return int(head.partition(".")[0]) > now.timestamp()

    def _signature(self, head: str, subject: str) -> str:
        text = "\0".join((self.purpose, subject, head)).encode(errors="surrogatepass")
        return base64.urlsafe_b64encode(hmac.new(self.key, text, hashlib.sha256).digest()).rstrip(b"=").decode("ascii")
