"""What the durable runs of one process share, and what carries their work out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Protocol

from highway_core.config import Settings
from highway_core.engine.durable.definitions import DurableDefinitions
from highway_core.engine.task_runner import Ask, TaskRunner
from highway_core.tools.context import FetchArtifact, Sandbox
from highway_core.utils.secret_key import secret_key
from highway_core.utils.stopping import StopScope


@dataclass(frozen=True, slots=True)
class Job:
    """One attempt to carry out: the lease on it is the queue row ``(run_id, path, work)`` at ``ask.fence``."""

    run_id: str
    path: str
    ask: Ask
    timeout_at: datetime | None
    """When it is given up."""
    claimed: bool
    """True if it was claimed from the queue; False if its worker took it over in the commit that made it ready."""


class Hands(Protocol):
    """Who carries work out: a worker has threads, other processes have none."""

    queues: Sequence[str]
    """The queues that are served."""

    crowded: bool
    """True while others wait in the queue: a run may not keep a place for itself for ever."""

    def free(self) -> int:
        """How many more attempts would be begun soon."""
        ...

    def carry_out(self, job: Job) -> None:
        """Begin soon; the commit that it needs is behind us."""
        ...

    def stop(self, run_id: str, path: str, fence: int, reason: str, *, kill: bool) -> None:
        """The attempt is given up; its answer will not be heard."""
        ...


StopScopes = Callable[[str], Iterable[tuple[str, StopScope]]]
"""Of a run: the paths of the tasks that this process is carrying out, and what stops each."""


class NoHands:
    """Of a process that only decides: what it makes ready goes into the queue."""

    queues: Sequence[str] = ()
    crowded = False

    def free(self) -> int:
        return 0

    def carry_out(self, job: Job) -> None:
        raise AssertionError(f"nobody here can carry out task '{job.path}' of run '{job.run_id}'")

    def stop(self, run_id: str, path: str, fence: int, reason: str, *, kill: bool) -> None:
        """Whoever carries it out notices that its lease is gone."""


@dataclass
class DurableServices:
    """Handed to the driver by whoever wires it."""

    runner: TaskRunner
    settings: Settings
    definitions: DurableDefinitions
    sandbox: Sandbox | None = None
    fetch_artifact: FetchArtifact | None = None
    read_result: Callable[[str, str], str] = field(kw_only=True)
    """The result of a task of a run, as JSON text; any thread may call it."""
    run_window: int = field(default=1000)
    """The most tasks of one run that stand in the queue or are carried out at once, however many threads there are."""

    @cached_property
    def secret_key(self) -> bytes:
        """What the tokens of approvals are derived from."""
        return secret_key(self.settings.secret_key, self.settings.home)
