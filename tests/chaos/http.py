"""What a caller of the API is told; raises OSError or HTTPException where it is told nothing."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from typing import Any


class Caller:
    """One connection, kept open; not thread-safe."""

    def __init__(self, port: int, timeout: float = 30) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)

    def ask(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Status and answer."""
        try:
            text = None if body is None else json.dumps(body)
            self._connection.request(method, path, text, {"Content-Type": "application/json", **(headers or {})})
            answer = self._connection.getresponse()
            said = answer.read()
        except BaseException:
            self._connection.close()
            raise
        return answer.status, json.loads(said) if said else {}

    def start(
        self, document: Mapping[str, Any], key: str | None = None, inputs: Mapping[str, Any] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Start a run."""
        headers = {} if key is None else {"Idempotency-Key": key}
        return self.ask("POST", "/workflow/start", {"document": document, "inputs": inputs or {}}, headers)

    def close(self) -> None:
        self._connection.close()
