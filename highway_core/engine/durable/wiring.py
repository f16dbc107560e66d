"""The one module that puts DURABLE mode together from settings: tools, executors, definitions, store."""

from __future__ import annotations

from collections.abc import Callable

from highway_core.config import Settings, current_settings
from highway_core.engine.durable.breakers import SharedBreakers
from highway_core.engine.durable.definitions import DurableDefinitions
from highway_core.engine.durable.operations import DurableRuns
from highway_core.engine.durable.services import DurableServices
from highway_core.engine.engine import LocalEngine
from highway_core.errors import ConnectionLostError
from highway_core.persistence.artifact_store import ArtifactStore
from highway_core.persistence.breaker_store import BreakerStore
from highway_core.persistence.durable_connection import ConnectionPool
from highway_core.persistence.schema import require_schema
from highway_core.persistence.transition_store import read_result


def durable_services(settings: Settings | None = None) -> DurableServices:
    """What carries tasks out and finds documents; the same tools and executors as LOCAL mode."""
    settings = settings or current_settings()
    pool = ConnectionPool(settings.database_url, "highway-tasks")
    engine = LocalEngine(settings, breakers=SharedBreakers(BreakerStore(pool)))
    return DurableServices(
        engine.runner,
        engine.settings,
        DurableDefinitions(engine.settings.workflows_dir, engine.registry),
        engine.sandbox,
        ArtifactStore(pool).get,
        read_result=_reader(pool),
    )


def _reader(pool: ConnectionPool) -> Callable[[str, str], str]:
    """Reads large results for whichever thread resolves a reference to one."""

    def read(run_id: str, path: str) -> str:
        with pool.connection() as connection:
            try:
                return read_result(connection, run_id, path)
            except ConnectionLostError:  # it may have been idle too long
                return read_result(connection, run_id, path)

    return read


def open_durable(settings: Settings | None = None, services: DurableServices | None = None) -> DurableRuns:
    """The durable runs of the settings' database; ConfigError if it is no PostgreSQL, SchemaError if it is too old or
    of another version."""
    services = services or durable_services(settings)
    require_schema(services.settings.database_url)
    return DurableRuns(services.settings.database_url, services)
