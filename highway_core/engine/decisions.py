"""What a handler may answer: the closed union :data:`Decision`.

A handler says *what* follows; the mode that runs it says *how*: LOCAL turns ``SleepUntil`` into a timer, DURABLE
into a row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from highway_core.lifecycle import RunStatus


@dataclass(frozen=True, slots=True)
class Finish:
    """The task is completed with ``result``. ``emits`` is an event (name, payload) that is stored with it."""

    result: Any = None
    emits: tuple[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class SleepUntil:
    """The task completes at ``moment`` (aware, UTC) with ``result``; it is not run again."""

    moment: datetime
    result: Any = None


@dataclass(frozen=True, slots=True)
class AwaitEvent:
    """The task completes with the payload of the newest event called ``name``, or fails at ``deadline``.

    ``approval`` turns it into a person's decision: only DURABLE mode can wait for one.
    """

    name: str
    deadline: datetime | None = None
    approval: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Branch:
    """The arms called ``taken`` go on, the others are skipped.

    ``gather`` keeps the task open until every member of its branches is final; it is then asked again with
    ``ctx.progress``. A condition does not gather.
    """

    taken: frozenset[str]
    gather: bool = False
    result: Any = None
    timeout: float | None = None
    """Seconds after which what is open in the branches is cancelled and the task fails."""


@dataclass(frozen=True, slots=True)
class Iteration:
    """One scope of a loop: the body's graph, run with ``item`` and ``index`` bound."""

    index: int
    item: Any = None
    shared: bool = False
    """True for ``while``: the body's results are the enclosing scope's own."""


@dataclass(frozen=True, slots=True)
class ChildRun:
    """One run of another workflow, linked to this task."""

    branch: str
    workflow_name: str
    inputs: Mapping[str, Any]
    definition_id: str | None = None
    """A content hash; wins over the name."""


@dataclass(frozen=True, slots=True)
class Spawn:
    """Open ``scopes``; the task is asked again, with ``ctx.progress``, when they are over.

    ``progress`` is JSON that the handler gets back; it survives a crash. ``limit`` bounds how many scopes are open
    at the same time (None: all), ``stop_on_failure`` stops opening more after the first that failed. ``timeout``
    is in seconds.
    """

    scopes: Sequence[Iteration | ChildRun]
    progress: Mapping[str, Any] = field(default_factory=dict)
    limit: int | None = None
    stop_on_failure: bool = False
    timeout: float | None = None


@dataclass(frozen=True, slots=True)
class Terminate:
    """The run ends now with ``status``; what is open is cancelled."""

    status: RunStatus
    result: Any = None
    reason: str = ""


Decision = Finish | SleepUntil | AwaitEvent | Branch | Spawn | Terminate
