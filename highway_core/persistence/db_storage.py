"""The file-based fallback of seed 001, under the name it gives: see ``file_storage``."""

from highway_core.persistence.file_storage import FilePersistenceManager

__all__ = ["FilePersistenceManager"]
