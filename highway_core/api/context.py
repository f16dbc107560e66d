"""What the routes of the API work with: made once, when the application is, and handed to every view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from highway_core.api.long_polls import LongPolls
from highway_core.api.named_workflows import NamedWorkflows
from highway_core.api.wrong_keys import WrongKeys
from highway_core.config import Settings
from highway_core.engine.durable.operations import Started, StartRequest
from highway_core.lifecycle import RunStatus
from highway_core.persistence.api_keys import ApiKeys
from highway_core.persistence.durable_connection import ConnectionPool
from highway_core.persistence.run_reads import RunReads
from highway_core.services.run_overview import RunOverviews


class Runs(Protocol):
    """What the API asks of :class:`~highway_core.engine.durable.operations.DurableRuns`."""

    def start(self, request: StartRequest) -> Started: ...

    def cancel(self, run_id: str, by: str, reason: str = "") -> RunStatus: ...

    def pause(self, run_id: str, by: str) -> RunStatus: ...

    def unpause(self, run_id: str, by: str) -> RunStatus: ...

    def retry(self, run_id: str, by: str) -> RunStatus: ...

    def add_items(self, run_id: str, task_path: str, items: Sequence[Any], by: str) -> None: ...

    def emit(self, name: str, payload: Any, by: str) -> int: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class ApiContext:
    """The collaborators of the views."""

    settings: Settings
    runs: Runs
    reads: RunReads
    overviews: RunOverviews
    polls: LongPolls
    keys: ApiKeys
    wrong_keys: WrongKeys
    workflows: NamedWorkflows
    pool: ConnectionPool
    public_url: str
    """The base of links that people get, without a slash at the end."""
    keys_required: bool
    """False where only this machine can reach the API: whoever comes without a key may then do everything."""
