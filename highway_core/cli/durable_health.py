"""``durable health SERVICE``: whether the one on this host was heard of in the last minute; for health checks."""

from __future__ import annotations

import socket
from argparse import Namespace

from highway_core.cli.durable_database import with_database
from highway_core.cli.output import Output
from highway_core.config import current_settings
from highway_core.persistence.durable_connection import DurableConnection
from highway_core.persistence.statements.services import IS_SEEN


def run(options: Namespace, output: Output) -> int:
    """The exit code: 0 if it was."""
    connection = DurableConnection(with_database(current_settings()).database_url, "highway health")
    host = socket.gethostname()
    try:
        seen = bool(connection.value(IS_SEEN, (options.service, host)))
    finally:
        connection.close()
    output.say(f"A {options.service} on {host} was {'' if seen else 'not '}heard of in the last minute.")
    return 0 if seen else 1
