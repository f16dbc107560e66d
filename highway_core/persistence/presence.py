"""A service's row in ``workers``: who is up, where, and when it was last heard of."""

from __future__ import annotations

import os
import secrets
import socket

from highway_core.persistence.durable_connection import DurableConnection
from highway_core.persistence.statements import upkeep as sql


class Presence:
    """The row of this process for one service (``worker``, ``scheduler``, ``api``)."""

    def __init__(self, service: str, queues: str = "", concurrency: int | None = None) -> None:
        host, pid = socket.gethostname(), os.getpid()
        self.worker_id = f"{service}-{host}-{pid}-{secrets.token_hex(4)}"
        """Never given twice."""
        self._values = (self.worker_id, service, host, pid, queues, concurrency)

    def seen(self, connection: DurableConnection) -> None:
        """To be said every now and then, well within a minute."""
        connection.run(sql.SEEN, self._values)

    def leave(self, connection: DurableConnection) -> None:
        """The service ends in order; one that does not is forgotten after a while."""
        connection.run(sql.GONE, (self.worker_id,))
