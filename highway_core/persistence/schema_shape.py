"""Compares a PostgreSQL database with the schema it should have.

That schema is made beside the database's own, in a transaction that is rolled back, and the catalogues of the two are
compared: what an operator's tools, or a restore that failed half-way, took away or changed shows. What was added does
no harm and is not reported.
"""

from __future__ import annotations

from sqlalchemy import Connection, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from highway_core.persistence.location import Location
from highway_core.persistence.schema_upgrade import create_schema

_SCRATCH = "highway_schema_check"

_SHAPE = """
SELECT kind, name, replace(replace(definition, schema || '.', ''), '"', '') FROM (
    SELECT 'column' AS kind, table_name || '.' || column_name AS name, table_schema::text AS schema,
           coalesce(domain_name, data_type) || ' ' || is_nullable || coalesce(' ' || column_default, '') AS definition
      FROM information_schema.columns
    UNION ALL SELECT 'index', indexname, schemaname, indexdef FROM pg_indexes
    UNION ALL SELECT 'constraint', c.conname, n.nspname, pg_get_constraintdef(c.oid)
      FROM pg_constraint c JOIN pg_namespace n ON n.oid = c.connamespace WHERE c.contype <> 'n'
    UNION ALL SELECT 'function', p.proname, n.nspname, md5(p.prosrc) || ' ' || pg_get_function_arguments(p.oid)
           || coalesce(array_to_string(p.proconfig, ' '), '')
      FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
) AS everything WHERE schema = %s
"""


def differences(location: Location) -> list[str]:
    """What the database lacks or has differently, in order; StorageError if it cannot be looked at."""
    engine = create_engine(location.url, poolclass=NullPool)
    try:
        with engine.connect() as connection, connection.begin() as transaction:
            own = str(connection.exec_driver_sql("SELECT current_schema()").scalar_one())
            actual = _shape(connection, own)
            connection.exec_driver_sql(f"CREATE SCHEMA {_SCRATCH}")
            connection.exec_driver_sql(f"SET LOCAL search_path TO {_SCRATCH}")
            create_schema(connection)
            wanted = _shape(connection, _SCRATCH)
            transaction.rollback()
    except DBAPIError as error:
        raise location.error("be compared with its schema", error.orig or error) from error
    return [
        f"{kind} {name} is missing" if (kind, name) not in actual else f"{kind} {name} is not as it should be"
        for (kind, name), definition in sorted(wanted.items())
        if actual.get((kind, name)) != definition
    ]


def _shape(connection: Connection, schema: str) -> dict[tuple[str, str], str]:
    return {(row[0], row[1]): row[2] for row in connection.exec_driver_sql(_SHAPE, (schema,))}
