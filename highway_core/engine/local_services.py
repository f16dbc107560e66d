"""What the LOCAL runs of one process share."""

from __future__ import annotations

from dataclasses import dataclass, field

from highway_core.config import Settings
from highway_core.engine.definitions import Definitions
from highway_core.engine.task_runner import TaskRunner
from highway_core.persistence.manager import PersistenceManager
from highway_core.tools.context import FetchArtifact, Sandbox
from highway_core.utils.clock import Clock, SystemClock


@dataclass(frozen=True, slots=True)
class LocalServices:
    """Handed to the orchestrator by whoever wires it (``engine.engine``)."""

    store: PersistenceManager
    runner: TaskRunner
    settings: Settings
    definitions: Definitions | None = None
    """Where workflows are looked up by name; None: no task can start another workflow."""
    sandbox: Sandbox | None = None
    fetch_artifact: FetchArtifact | None = None
    clock: Clock = field(default_factory=SystemClock)
