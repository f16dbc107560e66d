"""What a start is made of: the seam of engine.durable.operations, here until that module is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from highway_core.engine.graph import CompiledWorkflow
from highway_core.lifecycle import RunStatus


@dataclass(frozen=True, slots=True)
class StartRequest:
    """One run that is to be."""

    workflow: CompiledWorkflow
    inputs: Mapping[str, Any] = field(default_factory=dict)
    run_id: str | None = None
    idempotency_key: str | None = None
    created_by: str | None = None
    priority: int = 0
    queue: str = "default"
    schedule_id: str | None = None
    slot: datetime | None = None


@dataclass(frozen=True, slots=True)
class Started:
    """The run; ``created`` is False if it was there already."""

    run_id: str
    created: bool
    status: RunStatus
