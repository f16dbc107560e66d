"""What the routes about runs take and answer."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from highway_core.api.bodies import Answer, Query, Strict
from highway_core.api.long_polls import LONGEST_SECONDS
from highway_core.lifecycle import RunMode, RunStatus, TaskStatus
from highway_core.services.run_overview import WireState

RunId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:@-]{0,199}$")]
QueueName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
Inputs = dict[str, Any]


class StartNamed(Strict):
    """How a workflow that has a name is started."""

    inputs: Inputs = Field(default_factory=dict)
    workflow_id: RunId | None = None
    queue: QueueName = "default"
    priority: int = Field(default=0, ge=-1_000_000, le=1_000_000)


class StartAny(StartNamed):
    """How a workflow is started: either by its name or with its document, as an object or as YAML or JSON text."""

    name: str | None = None
    document: dict[str, Any] | str | None = None


class StartWire(Strict):
    """How the published clients start a workflow."""

    workflow_definition: dict[str, Any]
    inputs: Inputs = Field(default_factory=dict)


class Started(Answer):
    """A run that was started, or was there already."""

    message: str
    workflow_id: str
    workflow_name: str
    status: RunStatus
    created: bool
    """False: a run with that id or key and the same payload was there."""
    total_tasks: int
    """Of the document; loops make more."""


class WireStartedData(Answer):
    """The run's id."""

    workflow_run_id: str


class WireStarted(Answer):
    """A run for the published clients."""

    data: WireStartedData


class Wait(Query):
    """How long to wait for the end of the run before the answer."""

    wait: float | None = Field(None, ge=0, le=LONGEST_SECONDS, allow_inf_nan=False)


class StatusQuery(Wait):
    """Which tasks the answer holds."""

    task_limit: int = Field(1_000, ge=0, le=10_000)
    task_offset: int = Field(0, ge=0, le=100_000_000)


class TaskAnswer(Answer):
    """One task instance."""

    task_id: str
    status: TaskStatus
    error: str | None
    operator_type: str
    attempt: int
    started_at: datetime | None
    completed_at: datetime | None
    wake_up_at: datetime | None


class RunAnswer(Answer):
    """One run without its tasks."""

    workflow_id: str
    workflow_name: str
    workflow_status: RunStatus
    mode: RunMode
    error: str | None
    created_at: datetime
    ended_at: datetime | None
    created_by: str | None
    queue: str
    tags: list[str]
    parent_workflow_id: str | None
    schedule_id: str | None
    slot: datetime | None


class StatusAnswer(RunAnswer):
    """One run with its tasks."""

    state: WireState
    result: Any
    current_step: str | None
    waiting_for_input: list[str]
    """Tasks that wait for a person or an event."""
    summary: dict[TaskStatus, int]
    tasks: list[TaskAnswer]
    next_task_offset: int | None


def _as_stored(word: object) -> object:
    return next((status for status in RunStatus if status.lower() == str(word).lower()), word)


class ListQuery(Query):
    """Which runs a list holds."""

    status: Annotated[RunStatus, BeforeValidator(_as_stored)] | None = None
    """In any case: upper and lower are told apart by nobody who types them."""
    name: str | None = Field(None, max_length=300)
    since: datetime | None = None
    parent: str | None = Field(None, max_length=1_000)
    """The id of the run whose child runs these are."""
    tag: str | None = Field(None, max_length=300)
    """One of the tags that their documents have."""
    limit: int = Field(50, ge=1, le=500)
    cursor: str | None = Field(None, max_length=1_000)


class ListAnswer(Answer):
    """Runs, the newest first."""

    workflows: list[RunAnswer]
    next_cursor: str | None
    """For the next page; null on the last one."""
    total_count: int | None
    """Where it costs nothing to know: if everything fits on one page."""


class HistoryQuery(Query):
    """Which part of the history the answer holds."""

    after: int = Field(0, ge=0, le=2**62)
    limit: int = Field(500, ge=1, le=5_000)


class HistoryEvent(Answer):
    """One transition."""

    seq: int
    at: datetime
    kind: str
    task_id: str
    from_task: str | None
    attempt: int | None
    worker_id: str | None
    detail: str | None


class HistoryAnswer(Answer):
    """Transitions of a run."""

    workflow_id: str
    events: list[HistoryEvent]
    next_after: int | None
    """``after`` of the next page; null on the last one."""


class CancelBody(Strict):
    """Why."""

    reason: str = Field("", max_length=2_000)


class Nothing(Strict):
    """An empty body, or none."""


class MovedAnswer(Answer):
    """Where a run stands after it was told something."""

    message: str
    workflow_id: str
    status: RunStatus


class EventBody(Strict):
    """What the event carries."""

    payload: Any = None


class EventAnswer(Answer):
    """An event that was stored."""

    message: str
    name: str
    delivered: int
    """Tasks that waited for it."""


class ItemsBody(Strict):
    """Items for a foreach that takes more while it runs."""

    items: list[Any] = Field(min_length=1, max_length=10_000)


class ItemsAnswer(Answer):
    """Items that were handed over."""

    message: str
    workflow_id: str
    task_id: str
    added: int


class WireProgress(Answer):
    """How far a run is."""

    completed: int
    total: int


class WireStatusData(Answer):
    """A run in the words of the published clients."""

    workflow_run_id: str
    workflow_name: str
    state: WireState
    status: WireState
    result: Any
    current_step: str | None
    progress: WireProgress
    error: str | None
    created_at: datetime
    completed_at: datetime | None


class WireStatus(Answer):
    """A run for the published clients."""

    data: WireStatusData


class ArtifactAnswer(Answer):
    """An artifact that is kept."""

    artifact_id: str
    size: int
