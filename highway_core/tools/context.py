"""What a tool may know of the attempt that calls it, and what it may ask for.

A tool is an ordinary function. One whose first parameter is annotated with :class:`ToolContext` receives the context
there; any other can call :func:`current_context`. A tool knows neither the mode nor the storage: what needs the
engine's help is *returned* as a :data:`Directive` and carried out by the mode.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

from highway_core.config import Settings, current_settings
from highway_core.utils.stopping import StopScope


@dataclass(frozen=True, slots=True)
class AwaitApproval:
    """Returned by a tool: park this task until a person has decided."""

    prompt: str
    assignee: str
    choices: tuple[str, ...] = ("APPROVED", "DENIED")


@dataclass(frozen=True, slots=True)
class StartWorkflow:
    """Returned by a tool: run another workflow as a child of this task; its result is the task's result.

    ``definition_id`` is a content hash and wins over ``workflow_name``.
    """

    workflow_name: str | None
    inputs: Mapping[str, Any]
    definition_id: str | None = None


@dataclass(frozen=True, slots=True)
class ReadBranches:
    """Returned by a tool: the result map ``{branch: {status, results}}`` of a parallel operator of this scope."""

    value: Any
    timeout: timedelta | None = None


Directive = AwaitApproval | StartWorkflow | ReadBranches


class RunState(Protocol):
    """The state object that ``tools.memory.*`` and ``human.*`` receive first (``WorkflowState`` fits)."""

    @property
    def memory(self) -> MutableMapping[str, Any]: ...

    @property
    def variables(self) -> MutableMapping[str, Any]: ...

    @property
    def results(self) -> MutableMapping[str, Any]: ...


@dataclass(frozen=True, slots=True)
class SandboxRequest:
    """One program for the sandbox. Times in seconds, sizes in bytes; ``files`` are mounted read-only."""

    argv: tuple[str, ...]
    stdin: bytes = b""
    timeout: float | None = None
    files: Mapping[str, Path] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict)
    max_memory: int = 1024 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class SandboxResult:
    """What the program left. ``isolation`` says what held it: ``bubblewrap`` or ``subprocess``."""

    returncode: int
    stdout: str
    stderr: str
    isolation: str


Sandbox = Callable[[SandboxRequest, "ToolContext"], SandboxResult]

FetchArtifact = Callable[[str], bytes | None]
"""The bytes that were uploaded under an id, or None; it may raise what its storage raises."""


@dataclass(slots=True)
class ToolContext:
    """One attempt, as its tool sees it."""

    run_id: str
    workflow_name: str
    task_id: str
    """The instance's path: ``process_users[3].fetch_user``."""
    attempt: int
    settings: Settings
    stop: StopScope
    state: RunState
    """Read it freely; write to it in transactional tools only."""
    sandbox: Sandbox | None = None
    fetch_artifact: FetchArtifact | None = None
    """Where artifacts are that this machine does not have; None: nowhere."""
    inputs: Mapping[str, Any] = field(default_factory=dict)
    changed_variables: dict[str, Any] = field(default_factory=dict)
    """Variables that the run takes over when this attempt completes."""
    idempotency_key: str = ""
    """The same for every attempt of this task instance; offer it to services that can use one."""

    def get_variable(self, name: str, default: Any = None) -> Any:
        """A variable or input of the run, or ``default``."""
        for source in (self.changed_variables, self.state.variables, self.inputs):
            if name in source:
                return source[name]
        return default

    def set_variable(self, name: str, value: Any) -> None:
        """Set a variable of the run, durably, when this attempt completes."""
        self.changed_variables[name] = value


_CURRENT: ContextVar[ToolContext | None] = ContextVar("highway_tool_context", default=None)


def current_context() -> ToolContext | None:
    """The context of the attempt that runs in this thread, or None outside one."""
    return _CURRENT.get()


def enter_context(context: ToolContext | None) -> None:
    """Make ``context`` the current one of this thread; executors call this around a tool."""
    _CURRENT.set(context)


def tool_settings() -> Settings:
    """The settings of the attempt that runs in this thread; outside one, those of the process."""
    context = _CURRENT.get()
    return current_settings() if context is None else context.settings
