"""What stands before every service: a database that answers and has the schema that this version works with."""

from __future__ import annotations

import logging

from highway_core.errors import SchemaError, StorageError
from highway_core.persistence.schema import require_schema, upgrade
from highway_core.services.loop import Stop, Trouble

_log = logging.getLogger(__name__)


def await_database(service: str, url: str, stop: Stop, *, may_upgrade: bool = False) -> bool:
    """Wait until the database can be worked with; False if ``stop`` was set before.

    That it cannot be reached is said once and tried again for as long as it takes. Another schema is brought up where
    ``may_upgrade``; where that may not or cannot be done it raises SchemaError, which says what to do.
    """
    trouble = Trouble(service, _log)
    while not stop.is_set():
        try:
            _look(url, may_upgrade)
        except SchemaError:
            raise
        except StorageError as error:
            stop.wait(trouble.met(error))
        else:
            trouble.over()
            return True
    return False


def _look(url: str, may_upgrade: bool) -> None:
    try:
        require_schema(url)
    except SchemaError:
        if not may_upgrade:
            raise
        upgrade(url)
