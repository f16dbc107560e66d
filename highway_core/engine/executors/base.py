"""What every executor takes and is: a piece of :class:`Work`, the :class:`ExecutionContext` around it, one method."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from highway_core.tools.context import ToolContext

if TYPE_CHECKING:
    from highway_core.config import Settings
    from highway_core.engine.resource_manager import ContainerResourceManager
    from highway_core.tools.bulkhead import BulkheadManager
    from highway_core.tools.registry import ToolRegistry


@dataclass(frozen=True, slots=True)
class Work:
    """One call of a tool, or one container. Every reference is filled in; nothing here is template any more."""

    function: str | None = None
    args: list[Any] = field(default_factory=list)
    kwargs: dict[str, Any] = field(default_factory=dict)
    image: str | None = None
    command: list[str] | None = None
    runtime: str = "python"
    timeout: float | None = None
    """Seconds."""
    kill_on_timeout: bool = False
    """False: nothing here ends the work after ``timeout``; the attempt is abandoned by whoever asked for it."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Of the container; see :mod:`highway_core.engine.executors.docker_options`."""

    @property
    def kill_after(self) -> float | None:
        """Seconds after which the executor has to end the work, or None."""
        return self.timeout if self.kill_on_timeout else None


class ExecutionContext:
    """What executors may use: shared by all attempts, but for ``tool``, the attempt itself."""

    __slots__ = ("_tool", "bulkheads", "registry", "resources", "settings")

    def __init__(
        self,
        registry: ToolRegistry,
        bulkheads: BulkheadManager,
        resources: ContainerResourceManager,
        settings: Settings,
        tool: ToolContext | None = None,
    ) -> None:
        self.registry = registry
        self.bulkheads = bulkheads
        self.resources = resources
        self.settings = settings
        self._tool = tool

    @property
    def tool(self) -> ToolContext:
        """The attempt that is carried out."""
        if self._tool is None:
            raise RuntimeError("This ExecutionContext belongs to no attempt; ask for_tool(…) for one that does.")
        return self._tool

    def for_tool(self, tool: ToolContext) -> ExecutionContext:
        """The same for another attempt."""
        return ExecutionContext(self.registry, self.bulkheads, self.resources, self.settings, tool)


class BaseExecutor(ABC):
    """Carries out work of one runtime. Thread-safe: one executor serves all attempts at once."""

    runtime: str

    def close(self) -> None:  # noqa: B027 - most executors hold nothing
        """Let go of what it holds; most hold nothing."""

    @abstractmethod
    def execute(self, work: Work, ctx: ExecutionContext) -> Any:
        """The result of the work; whatever it raises is the failure of the attempt."""
