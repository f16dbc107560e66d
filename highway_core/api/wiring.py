"""Opens what the API works with."""

from __future__ import annotations

from highway_core.api.access import is_loopback
from highway_core.api.context import ApiContext, Runs
from highway_core.api.long_polls import LongPolls
from highway_core.api.named_workflows import NamedWorkflows
from highway_core.api.wrong_keys import WrongKeys
from highway_core.config import Settings
from highway_core.engine.durable.wiring import durable_services, open_durable
from highway_core.persistence.api_keys import ApiKeys
from highway_core.persistence.durable_connection import ConnectionPool
from highway_core.persistence.run_reads import RunReads
from highway_core.persistence.run_waiter import RunWaiter
from highway_core.services.run_overview import RunOverviews
from highway_core.tools.registry import ToolRegistry


def context_over(
    settings: Settings, runs: Runs, tools: ToolRegistry, host: str | None = None, port: int | None = None
) -> ApiContext:
    """The context of an API that is bound to ``host`` and ``port`` (default: those of the settings)."""
    url = settings.database_url
    host, port = host or settings.api_host, port or settings.api_port
    pool = ConnectionPool(url, "highway-api")
    reads = RunReads(pool)
    return ApiContext(
        settings=settings,
        runs=runs,
        reads=reads,
        overviews=RunOverviews(reads),
        polls=LongPolls(RunWaiter(url, reads.statuses), settings.api_threads * 3 // 4),
        keys=ApiKeys(pool),
        wrong_keys=WrongKeys(),
        workflows=NamedWorkflows(settings.workflows_dir, reads, tools),
        pool=pool,
        public_url=settings.public_url or f"http://{_linked(host)}:{port}",
        keys_required=not is_loopback(host),
    )


def open_context(settings: Settings, host: str | None = None, port: int | None = None) -> ApiContext:
    """The same over the database of ``settings``."""
    services = durable_services(settings)
    return context_over(settings, open_durable(settings, services), ToolRegistry(settings), host, port)


def _linked(host: str) -> str:
    """A host as it stands in a URL; whoever listens everywhere is reached on this machine at least."""
    if host in {"0.0.0.0", "::"}:  # noqa: S104 - compared, not bound
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host
