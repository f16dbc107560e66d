"""The name that seed 001 gives this module: see ``database``."""

from highway_core.persistence.database import DatabaseManager, get_db_manager

__all__ = ["DatabaseManager", "get_db_manager"]
