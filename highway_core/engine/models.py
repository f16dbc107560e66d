"""The document as Python objects: :class:`WorkflowModel` and one model per operator.

Pydantic checks the shape of each field; names, graph and data flow are checked when the document is compiled
(``validation``, ``graph``). Explicit nulls count as absent, as highway-dsl writes them. Unknown keys are kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from highway_core.engine.policies import (
    CircuitBreakerPolicy,
    DataGuard,
    DocumentPart,
    RetryPolicy,
    TimeoutPolicy,
)
from highway_core.lifecycle import RunMode, RunStatus


class TriggerRule(StrEnum):
    """When a task runs, given how its predecessors ended (SEMANTICS, "The graph")."""

    ALL_SUCCESS = "all_success"
    ALL_DONE = "all_done"
    ONE_SUCCESS = "one_success"
    ONE_DONE = "one_done"
    NONE_FAILED = "none_failed"


class JoinMode(StrEnum):
    """When a join completes, given how its ``join_tasks`` ended."""

    ALL_OF = "all_of"
    ANY_OF = "any_of"
    ALL_SUCCESS = "all_success"
    ONE_SUCCESS = "one_success"


class BaseOperatorModel(DocumentPart):
    """What every operator has."""

    renamed: ClassVar[Mapping[str, str]] = {"depends_on": "dependencies"}
    templated: ClassVar[tuple[str, ...]] = ()
    """Fields in which ``{{…}}`` is resolved when the task starts."""
    conditions: ClassVar[tuple[str, ...]] = ()
    """Fields that are expressions."""

    task_id: str
    operator_type: str
    dependencies: list[str] = Field(default_factory=list)
    trigger_rule: TriggerRule = TriggerRule.ALL_SUCCESS
    retry_policy: RetryPolicy | None = None
    timeout_policy: TimeoutPolicy | None = None
    timeout_seconds: float | None = Field(None, gt=0, allow_inf_nan=False)
    circuit_breaker_policy: CircuitBreakerPolicy | None = None
    idempotency_key: str | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)
    description: str = ""
    result_key: str | None = None
    on_success_task_id: str | None = None
    on_failure_task_id: str | None = None
    is_internal_loop_task: bool = False
    is_internal_parallel_task: bool = False
    preconditions: list[DataGuard] = Field(default_factory=list)
    postconditions: list[DataGuard] = Field(default_factory=list)

    @property
    def attempt_timeout(self) -> TimeoutPolicy | None:
        """The timeout of one attempt, in whichever spelling the document has it."""
        if self.timeout_policy is not None:
            return self.timeout_policy
        if self.timeout_seconds is not None:
            return TimeoutPolicy(timeout=timedelta(seconds=self.timeout_seconds))
        return None


class CallOperatorModel(BaseOperatorModel):
    """Call a tool, or run a container (``runtime: docker``); what ``task`` and ``activity`` share."""

    templated = ("args", "kwargs", "image", "command", "docker")

    function: str | None = None
    args: list[Any] = Field(default_factory=list)
    kwargs: dict[str, Any] = Field(default_factory=dict)
    runtime: Literal["python", "docker"] = "python"
    image: str | None = None
    command: list[str] | None = None
    docker: dict[str, Any] = Field(default_factory=dict)
    """Options of the container: env, volumes, limits; the executor has the list of what is allowed."""

    @model_validator(mode="after")
    def _runtime_has_what_it_needs(self) -> CallOperatorModel:
        if self.runtime == "python" and not self.function:
            raise ValueError("a task needs 'function', the name of a tool")
        if self.runtime == "docker" and not self.image:
            raise ValueError("a task with runtime docker needs 'image'")
        return self


class TaskOperatorModel(CallOperatorModel):
    """Call a tool, or run a container."""

    operator_type: Literal["task"] = "task"


class ActivityOperatorModel(CallOperatorModel):
    """A task that may run long: it heartbeats, and never holds a transaction."""

    operator_type: Literal["activity"] = "activity"


class ConditionOperatorModel(BaseOperatorModel):
    """Two arms; each names the first task(s) of its arm."""

    conditions = ("condition",)

    operator_type: Literal["condition"] = "condition"
    condition: str
    if_true: str | list[str] | None = None
    if_false: str | list[str] | None = None
    output_of: str | None = None
    """The task whose result a CEL condition sees as ``output``."""


class SwitchOperatorModel(BaseOperatorModel):
    """Arms by value; ``switch_on`` is compared with the cases as text."""

    operator_type: Literal["switch"] = "switch"
    switch_on: str
    cases: dict[str, str | list[str]] = Field(default_factory=dict)
    default: str | list[str] | None = None


class BranchWorkflow(DocumentPart):
    """The tasks of one branch, as highway-dsl ≥ 2.0.2 writes them. They compile into the enclosing graph."""

    name: str = ""
    tasks: dict[str, AnyOperatorModel] = Field(default_factory=dict)
    variables: dict[str, Any] = Field(default_factory=dict)


class ParallelOperatorModel(BaseOperatorModel):
    """Branches that all run. ``branch_workflows`` holds their tasks where the parent's ``tasks`` do not."""

    operator_type: Literal["parallel"] = "parallel"
    branches: dict[str, list[str]] = Field(default_factory=dict)
    branch_workflows: dict[str, BranchWorkflow] = Field(default_factory=dict)
    timeout: float | None = Field(None, gt=0, allow_inf_nan=False)


class MultiChoiceBranch(DocumentPart):
    """A branch that runs if its condition holds."""

    condition: str
    tasks: list[str] = Field(default_factory=list)


class MultiChoiceOperatorModel(BaseOperatorModel):
    """Every branch whose condition holds runs."""

    operator_type: Literal["multi_choice"] = "multi_choice"
    branches: dict[str, MultiChoiceBranch]
    branch_workflows: dict[str, BranchWorkflow] = Field(default_factory=dict)
    minimum_branches: int = Field(1, ge=0)
    timeout: float | None = Field(None, gt=0, allow_inf_nan=False)


class WaitOperatorModel(BaseOperatorModel):
    """Until a moment, or for a duration."""

    templated = ("wait_for",)

    operator_type: Literal["wait"] = "wait"
    wait_for: Any


class ForEachOperatorModel(BaseOperatorModel):
    """One scope an item."""

    templated = ("items",)

    operator_type: Literal["foreach"] = "foreach"
    items: Any
    loop_body: list[AnyOperatorModel] = Field(default_factory=list)
    parallel: bool = False
    dynamic: bool = False


class WhileOperatorModel(BaseOperatorModel):
    """One scope after the other, as long as the condition holds."""

    conditions = ("condition",)

    operator_type: Literal["while"] = "while"
    condition: str
    loop_body: list[AnyOperatorModel] = Field(default_factory=list)
    test_after: bool = False
    """True: the body runs once before the condition is looked at (a graph document's loop)."""
    output_of: str | None = None
    """The task whose result a CEL condition sees as ``output``."""

    @property
    def max_iterations(self) -> int:
        """The limit from ``metadata.max_iterations``; 1000 unless set."""
        return int(self.metadata.get("max_iterations", 1000))

    @model_validator(mode="after")
    def _limit_is_a_number(self) -> WhileOperatorModel:
        limit = self.metadata.get("max_iterations", 1000)
        if type(limit) is not int or limit < 1:
            raise ValueError(f"metadata.max_iterations must be a whole number above zero, not {limit!r}")
        return self


class EmitEventOperatorModel(BaseOperatorModel):
    """Store an event."""

    templated = ("event_name", "payload")

    operator_type: Literal["emit_event"] = "emit_event"
    event_name: str
    payload: dict[str, Any] = Field(default_factory=dict)


class WaitForEventOperatorModel(BaseOperatorModel):
    """Wait for the newest event of a name; ``timeout_seconds`` fails the task."""

    templated = ("event_name",)

    operator_type: Literal["wait_for_event"] = "wait_for_event"
    event_name: str

    @property
    def attempt_timeout(self) -> TimeoutPolicy | None:
        """``timeout_seconds`` is the deadline of the event, which the handler sets."""
        return self.timeout_policy


class JoinOperatorModel(BaseOperatorModel):
    """Bring branches together."""

    operator_type: Literal["join"] = "join"
    join_tasks: list[str] = Field(min_length=1)
    join_mode: JoinMode = JoinMode.ALL_OF


class ReflexiveOperatorModel(BaseOperatorModel):
    """Generate, verify, correct."""

    templated = ("generator_kwargs", "verifier_kwargs", "correction_prompt_template")

    operator_type: Literal["reflexive"] = "reflexive"
    generator: str
    generator_kwargs: dict[str, Any] = Field(default_factory=dict)
    verifier: str
    verifier_kwargs: dict[str, Any] = Field(default_factory=dict)
    max_turns: int = Field(3, ge=1, le=10)
    correction_prompt_template: str | None = None


class TerminateOperatorModel(BaseOperatorModel):
    """End the run."""

    templated = ("result", "reason")

    operator_type: Literal["terminate"] = "terminate"
    status: Literal[RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED] = RunStatus.COMPLETED
    result: dict[str, Any] = Field(default_factory=dict)
    reason: str = ""


class ChildWorkflowOperatorModel(BaseOperatorModel):
    """Runs of other workflows: branch → ``{workflow_name, inputs}``."""

    templated = ("children",)

    operator_type: Literal["child_workflow"] = "child_workflow"
    children: dict[str, dict[str, Any]] = Field(min_length=1)


AnyOperatorModel = Annotated[
    TaskOperatorModel
    | ActivityOperatorModel
    | ConditionOperatorModel
    | SwitchOperatorModel
    | ParallelOperatorModel
    | MultiChoiceOperatorModel
    | WaitOperatorModel
    | ForEachOperatorModel
    | WhileOperatorModel
    | EmitEventOperatorModel
    | WaitForEventOperatorModel
    | JoinOperatorModel
    | ReflexiveOperatorModel
    | TerminateOperatorModel
    | ChildWorkflowOperatorModel,
    Field(discriminator="operator_type"),
]

OPERATORS: Mapping[str, type[BaseOperatorModel]] = {
    "task": TaskOperatorModel,
    "activity": ActivityOperatorModel,
    "condition": ConditionOperatorModel,
    "switch": SwitchOperatorModel,
    "parallel": ParallelOperatorModel,
    "multi_choice": MultiChoiceOperatorModel,
    "wait": WaitOperatorModel,
    "foreach": ForEachOperatorModel,
    "while": WhileOperatorModel,
    "emit_event": EmitEventOperatorModel,
    "wait_for_event": WaitForEventOperatorModel,
    "join": JoinOperatorModel,
    "reflexive": ReflexiveOperatorModel,
    "terminate": TerminateOperatorModel,
    "child_workflow": ChildWorkflowOperatorModel,
}


class WorkflowModel(DocumentPart):
    """A workflow document, whichever of the four shapes it came in."""

    name: str
    version: str = ""
    description: str = ""
    mode: RunMode = RunMode.LOCAL
    start_task: str | None = None
    """Where a reader begins; every task without predecessors starts."""
    variables: dict[str, Any] = Field(default_factory=dict)
    tasks: dict[str, AnyOperatorModel]
    schedule: str | None = None
    start_date: datetime | None = None
    catchup: bool = False
    is_paused: bool = False
    tags: list[str] = Field(default_factory=list)
    max_active_runs: int = Field(1, ge=1)
    default_retry_policy: RetryPolicy | None = None
    deadline_seconds: float | None = Field(None, gt=0, allow_inf_nan=False)
    deadline_action: Literal["fail", "cancel"] = "fail"
    timeout_seconds: float | None = Field(None, gt=0, allow_inf_nan=False)
    """The SDK's spelling of a deadline that fails the run."""

    @property
    def deadline(self) -> float | None:
        """Seconds from the start to the deadline."""
        return self.deadline_seconds if self.deadline_seconds is not None else self.timeout_seconds


_RECURSIVE = (
    BranchWorkflow,
    ParallelOperatorModel,
    MultiChoiceOperatorModel,
    ForEachOperatorModel,
    WhileOperatorModel,
)
for _model in _RECURSIVE:
    _model.model_rebuild()
