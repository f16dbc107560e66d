"""A database and its transactions: what every part of ``DatabaseManager`` stands on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session

from highway_core.errors import StorageError
from highway_core.persistence.engines import IMMEDIATE, engine_for
from highway_core.persistence.location import locate
from highway_core.persistence.schema_upgrade import ensure_schema


class Sessions:
    """One database by URL, else by SQLite file, else by the settings; its tables are made or upgraded."""

    def __init__(self, db_path: str | Path | None = None, engine_url: str | None = None) -> None:
        self._location = locate(db_path, engine_url)
        self._db_engine = engine_for(self._location)
        ensure_schema(self._db_engine)

    @property
    def engine(self) -> Engine:
        """Shared by every manager of the same database in this process."""
        return self._db_engine

    @property
    def engine_url(self) -> str:
        """May hold a password."""
        return self._location.url

    @contextmanager
    def session_scope(self, *, immediate: bool = False) -> Iterator[Session]:
        """A session that commits at the end and rolls back on an exception; a driver's error becomes StorageError.

        Objects stay readable afterwards. ``immediate`` takes SQLite's write lock at once, which a scope that reads
        before it writes needs.
        """
        with Session(self._db_engine, expire_on_commit=False) as session:
            try:
                if immediate:
                    session.connection(execution_options={IMMEDIATE: True})
                yield session
                session.commit()
            except (DBAPIError, PoolTimeoutError) as error:
                session.rollback()
                cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
                raise self._location.error("carry out a transaction", cause) from error

    def health_check(self) -> bool:
        """Whether the database answers."""
        try:
            with self.session_scope() as session:
                return session.execute(text("SELECT 1")).scalar() == 1
        except StorageError:
            return False

    def close_all_connections(self) -> None:
        """Close what is idle. Other managers of the database go on, and this one opens connections again."""
        self._db_engine.dispose()
