"""The name that seed 002 gives this module: see ``sql_persistence``."""

from highway_core.persistence.sql_persistence import SQLPersistenceManager

__all__ = ["SQLPersistenceManager"]
