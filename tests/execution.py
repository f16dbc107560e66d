"""An attempt for tests of executors: the context that they get, without an engine around it."""

from __future__ import annotations

from typing import Any

from highway_core.config import Settings
from highway_core.engine.executors.base import ExecutionContext
from highway_core.engine.resource_manager import ContainerResourceManager
from highway_core.tools.bulkhead import BulkheadManager
from highway_core.tools.context import ToolContext
from highway_core.tools.registry import ToolRegistry
from tests.tool_context import context_with


def execution_of(context: ToolContext | None = None, **changes: Any) -> ExecutionContext:
    """An ExecutionContext of ``context`` (default: a new one); ``changes`` replace its other parts."""
    context = context or context_with()
    parts = {
        "registry": ToolRegistry(context.settings),
        "bulkheads": BulkheadManager(),
        "resources": ContainerResourceManager(context.run_id, context.settings),
        "settings": context.settings,
    }
    return ExecutionContext(**{**parts, **changes}, tool=context)


def docker_settings(docker_host: str, **changes: Any) -> Settings:
    """Settings of an environment that holds the daemon's address alone."""
    return Settings(environ={"DOCKER_HOST": docker_host}, **changes)
