"""Whether a PostgreSQL database has the schema that DURABLE mode works with, and bringing it there.

Looking costs two queries and no SQLAlchemy, so that every service may look when it starts.
"""

from __future__ import annotations

from dataclasses import dataclass

from highway_core.errors import SchemaError
from highway_core.persistence.durable_connection import DurableConnection, durable_location
from highway_core.persistence.schema_version import HEAD, SELECT_VERSION, check_server, unknown
from highway_core.persistence.statements.durable_functions import FUNCTIONS_VERSION

_LOOK = """
SELECT current_setting('server_version_num')::integer,
       to_regclass('alembic_version') IS NOT NULL,
       to_regclass('workflows') IS NOT NULL,
       to_regproc('highway_functions_version') IS NOT NULL
"""
_UPGRADE = "run 'highway durable db upgrade'"


@dataclass(frozen=True, slots=True)
class _State:
    """What a database says about its schema."""

    revisions: tuple[str, ...]
    """Empty: never stamped."""
    has_runs: bool
    functions: str | None


def require_schema(url: str) -> None:
    """SchemaError unless the database is ready for this version of Highway; a new one is made ready."""
    state = _look(url)
    if not state.revisions and not state.has_runs:
        _bring_up(url, renew_functions=False)
        return
    problem = _problem(url, state)
    if problem is not None:
        raise SchemaError(f"{durable_location(url).label} {problem}.")


def current(url: str) -> str | None:
    """The revision of the database's schema; None if it has none."""
    return ", ".join(_look(url).revisions) or None


def standing(url: str) -> str:
    """The schema of the database and what is to be done about it, to be said after its name."""
    return _problem(url, _look(url)) or f"has schema {HEAD}"


def upgrade(url: str) -> str:
    """Bring the schema and its functions to the newest revision, from whatever is there; returns that revision.

    Any number of processes may do it at once. It is one transaction: what interrupts it leaves everything as it was.
    Services should be stopped meanwhile.
    """
    _bring_up(url, renew_functions=True)
    return HEAD


def check(url: str) -> list[str]:
    """What is wrong with the schema, a sentence each; nothing if it is as ``upgrade`` leaves it."""
    problem = _problem(url, _look(url))
    if problem is not None:
        return [problem]
    from highway_core.persistence.schema_shape import differences  # noqa: PLC0415  as above

    return differences(durable_location(url))


def _bring_up(url: str, *, renew_functions: bool) -> None:
    # SQLAlchemy owns the schema, takes 150 ms to import, and is needed once in a database's life.
    from highway_core.persistence.schema_upgrade import upgrade_postgresql  # noqa: PLC0415

    upgrade_postgresql(durable_location(url), renew_functions=renew_functions)


def _problem(url: str, state: _State) -> str | None:
    named = ", ".join(state.revisions)
    if state.revisions == (HEAD,):
        if state.functions == FUNCTIONS_VERSION:
            return None
        return f"has schema {HEAD}, and has the functions of another version of Highway: {_UPGRADE}"
    if state.revisions:
        return unknown(state.revisions) or f"has schema {named}, and this version of Highway needs {HEAD}: {_UPGRADE}"
    from highway_core.persistence.schema_upgrade import why_not  # noqa: PLC0415  as below

    return why_not(durable_location(url)) or (
        f"holds runs of a Highway without DURABLE mode: {_UPGRADE}" if state.has_runs else f"has no schema: {_UPGRADE}"
    )


def _look(url: str) -> _State:
    connection = DurableConnection(url, "highway schema")
    try:
        server, stamped, has_runs, has_functions = connection.fetch(_LOOK)[0]
        check_server(server, durable_location(url).label)
        revisions = tuple(sorted(str(row[0]) for row in connection.fetch(SELECT_VERSION))) if stamped else ()
        functions = connection.value("SELECT highway_functions_version()") if has_functions else None
        return _State(revisions, has_runs, functions)
    finally:
        connection.close()
