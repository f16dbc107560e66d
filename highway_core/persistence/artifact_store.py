"""Uploaded packages of code in the database, under the hash of their bytes, so that every worker can have them."""

from __future__ import annotations

import hashlib

from highway_core.persistence.durable_connection import ConnectionPool
from highway_core.persistence.statements import artifacts as sql


class ArtifactStore:
    """The artifacts of one database. Thread-safe."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool

    def put(self, content: bytes) -> str:
        """Keep ``content`` and return its id; the same bytes have the same id and are kept once."""
        artifact_id = hashlib.sha256(content).hexdigest()
        with self._pool.connection() as connection:
            connection.run(sql.INSERT_ARTIFACT, (artifact_id, content, len(content)))
        return artifact_id

    def get(self, artifact_id: str) -> bytes | None:
        """The bytes, or None if nobody has uploaded them."""
        with self._pool.connection() as connection:
            content = connection.value(sql.SELECT_ARTIFACT, (artifact_id,))
        return None if content is None else bytes(content)
