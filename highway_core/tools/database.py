"""``tools.database.query``: SQL against a database of the user's own.

The statement is the author's, the data goes through ``params`` (``:name`` in the statement), never into its text.
A connection string may be a reference, ``vault:db/postgres``: the value of ``HIGHWAY_SECRET_DB_POSTGRES``, read
where the task runs, so that the password is in no document and no stored argument.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import lru_cache
from typing import Any
from urllib.parse import quote, quote_plus

from sqlalchemy import URL, Connection, CursorResult, Engine, create_engine, make_url, text
from sqlalchemy.exc import DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import NullPool, StaticPool

from highway_core.config import Settings, normalise_database_url
from highway_core.errors import ConfigError, ResultError, TaskError
from highway_core.tools.context import current_context, tool_settings
from highway_core.tools.decorators import tool

_VAULT = "vault:"
_CONNECT_SECONDS = 10
_BUSY_SECONDS = 30
"""How long a SQLite connection waits for another's write to end."""


@tool("tools.database.query", stoppable=True)
def query(
    connection_string: str, query: str, params: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None
) -> list[dict[str, Any]] | dict[str, int]:
    """Run one statement in a transaction of its own.

    Rows as a list of dicts where the statement returns any, else ``{"rowcount": n}``. A list of ``params`` runs the
    statement once for each.
    """
    settings = tool_settings()
    engine = engine_for(_resolve(connection_string, settings))
    with database_errors(engine), engine.begin() as connection, _interrupted_on_stop(connection):
        result = connection.execute(text(query), params or {})
        if not result.returns_rows:
            return {"rowcount": result.rowcount}
        return _rows(result, settings.max_result_bytes)


@lru_cache(maxsize=64)
def engine_for(database_url: str) -> Engine:
    """The engine of a database, made once; TaskError if the URL cannot be used.

    It keeps no connection: tools also run in forked children, and a connection must not be shared with one. Only a
    SQLite database in memory, which is its connection, keeps the one.
    """
    try:
        url = make_url(_normalised(database_url))
        in_memory = url.get_backend_name() == "sqlite" and url.database in {None, "", ":memory:"}
        return create_engine(
            url,
            poolclass=StaticPool if in_memory else NullPool,
            hide_parameters=True,
            connect_args=_connect_args(url) | ({"check_same_thread": False} if in_memory else {}),
        )
    except (NoSuchModuleError, ImportError) as error:
        raise TaskError(f"No driver for databases of the kind '{_scheme(database_url)}': {error}") from None
    except (SQLAlchemyError, ConfigError, ValueError):
        # Without what they say: it may hold the URL, and with it the password.
        raise TaskError(
            f"The connection string '{_scheme(database_url)}://…' is no database URL "
            f"such as postgresql://user:password@host:5432/name."
        ) from None


@contextmanager
def database_errors(engine: Engine) -> Iterator[None]:
    """Turn a database's errors into a TaskError that names the database and never the password."""
    try:
        yield
    except SQLAlchemyError as error:
        context = current_context()
        if context is not None:
            context.stop.check()
        said = str(error.orig if isinstance(error, DBAPIError) else error).strip()
        raise TaskError(f"Database {_place(engine.url)}: {_without_password(said, engine.url)}") from None


def _resolve(reference: str, settings: Settings) -> str:
    """The connection string behind a ``vault:a/b`` reference; any other text is one already."""
    if not isinstance(reference, str):
        raise TaskError(f"connection_string must be text, not {type(reference).__name__}.")
    if not reference.startswith(_VAULT):
        return reference
    name = re.sub(r"[^A-Za-z0-9]", "_", reference.removeprefix(_VAULT)).upper()
    value = settings.secret(name)
    if not value:
        raise TaskError(f"Secret '{reference}' is not set here: set HIGHWAY_SECRET_{name} where the task runs.")
    return value


def _scheme(url: str) -> str:
    return url.partition("://")[0] if "://" in url else ""


def _normalised(url: str) -> str:
    """Highway's own spellings for its own two databases; any other is SQLAlchemy's business."""
    return normalise_database_url(url) if url.startswith(("sqlite://", "postgres://", "postgresql://")) else url


def _connect_args(url: URL) -> dict[str, Any]:
    match url.get_backend_name():
        case "sqlite":
            return {"timeout": _BUSY_SECONDS}
        case "postgresql":
            return {"connect_timeout": _CONNECT_SECONDS}
        case _:
            return {}


def _interrupted_on_stop(connection: Connection) -> Any:
    """While inside, a stopped attempt cancels its statement."""
    context = current_context()
    driver = connection.connection.driver_connection
    interrupt = getattr(driver, "interrupt", None) or getattr(driver, "cancel", None)
    return nullcontext() if context is None or interrupt is None else context.stop.on_stop(interrupt)


def _rows(result: CursorResult[Any], limit: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    size = 0
    for row in result.mappings():
        rows.append(dict(row))
        size += sum(len(str(value)) for value in row.values())
        if size > limit:
            raise ResultError(
                f"The query gives more than {limit} bytes (HIGHWAY_MAX_RESULT_BYTES) after {len(rows)} rows; "
                f"ask for less, for instance with LIMIT."
            )
    return rows


def _place(url: URL) -> str:
    """The database without user, password and options."""
    return URL.create(url.drivername, host=url.host, port=url.port, database=url.database).render_as_string()


def _without_password(said: str, url: URL) -> str:
    for password in (url.password, url.query.get("password")):
        if isinstance(password, str) and password:
            for spelling in (password, quote(password, safe=""), quote_plus(password)):
                said = said.replace(spelling, "***")
    return said
