"""How a function becomes a tool: ``@tool("name")`` puts it into the one table of the process."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, overload

from highway_core.tools.builtin_tools import builtin_module, load_builtin
from highway_core.tools.bulkhead_config import BulkheadConfig

Inject = Literal["", "context", "state", "human"]
"""What a tool receives before its own arguments.

``context``: the ToolContext. ``state``: the run's state. ``human``: state, orchestrator, task id and run id.
"""

_F = TypeVar("_F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class ToolInfo:
    """A tool and how it wants to be called."""

    name: str
    function: Callable[..., Any]
    transactional: bool = False
    """It runs on the engine's deciding thread, in the transaction that completes or parks the task: exactly once."""
    stoppable: bool = False
    """It heeds StopScope and stops its own work (a process tree, a query), so a timeout may leave it on a thread."""
    bulkhead: BulkheadConfig | None = None
    inject: Inject = ""


TOOL_REGISTRY: dict[str, Callable[..., Any]] = {}
"""Every registered tool by name, of all registries of this process."""

TOOL_INFO: dict[str, ToolInfo] = {}
"""Beside TOOL_REGISTRY; read it through :func:`tool_info`."""


@overload
def tool(name: _F) -> _F: ...


@overload
def tool(
    name: str | None = None,
    *,
    transactional: bool = False,
    stoppable: bool = False,
    bulkhead: BulkheadConfig | None = None,
) -> Callable[[_F], _F]: ...


def tool(
    name: _F | str | None = None,
    *,
    transactional: bool = False,
    stoppable: bool = False,
    bulkhead: BulkheadConfig | None = None,
) -> _F | Callable[[_F], _F]:
    """Register a function as a tool and return it unchanged: ``@tool``, ``@tool("x")``, ``@tool("x", stoppable=True)``.

    Without a name it is ``<last part of the module>.<function name>``. ValueError if the name is taken by another
    function; the same function may come again, as when its module is reloaded.
    """

    def register(function: _F) -> _F:
        key = name if isinstance(name, str) else f"{function.__module__.rpartition('.')[2]}.{function.__name__}"
        _refuse_duplicate(key, function)
        TOOL_INFO[key] = ToolInfo(key, function, transactional, stoppable, bulkhead, _inject(key, function))
        TOOL_REGISTRY[key] = function
        return function

    return register if name is None or isinstance(name, str) else register(name)


def tool_info(name: str) -> ToolInfo:
    """What is known of a registered tool; KeyError if there is none. Loads nothing: see ToolRegistry.resolve."""
    info = TOOL_INFO.get(name)
    function = TOOL_REGISTRY[name]
    if info is None or info.function is not function:  # somebody wrote into the dict, as the existing library's tests
        info = TOOL_INFO[name] = plain_info(name, function)
    return info


def plain_info(name: str, function: Callable[..., Any]) -> ToolInfo:
    """What can be told of a function that nobody decorated."""
    return ToolInfo(name, function, inject=_inject(name, function))


def _refuse_duplicate(name: str, function: Callable[..., Any]) -> None:
    module = builtin_module(name)
    if module is not None and module != function.__module__:
        load_builtin(name)  # so that it does not depend on the order of imports who is the duplicate
    present = TOOL_REGISTRY.get(name)
    if present is not None and present is not function and _origin(present) != _origin(function):
        raise ValueError(f"Duplicate tool name: {name}")


def _origin(function: Callable[..., Any]) -> tuple[str, str] | int:
    """Where a function was written; closures of one factory are different functions."""
    qualified = getattr(function, "__qualname__", "")
    if not qualified or "<locals>" in qualified:
        return id(function)
    return function.__module__, qualified


def _inject(name: str, function: Callable[..., Any]) -> Inject:
    if _wants_context(function):
        return "context"
    if name.startswith("tools.memory."):
        return "state"
    return "human" if name.startswith("human.") else ""


def _wants_context(function: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):  # a built-in without a signature
        return False
    first = next(iter(parameters.values()), None)
    if first is None:
        return False
    # By name, because the annotation may be a string and ToolContext need not be importable where it was written.
    annotation = first.annotation
    written = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    return written.strip("'\" ").rpartition(".")[2] == "ToolContext"
