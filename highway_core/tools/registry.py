"""Finds the tool that a task names.

Sources, in the order in which they are asked: what is registered already; Highway's own modules (``builtin_tools``
knows from the name which one to import); installed packages with an entry point in ``highway_core.tools``; the files
of ``HIGHWAY_TOOLS_DIR``; Python functions by their dotted path, from modules that ``HIGHWAY_TOOL_MODULES`` allows.
Nothing is imported before a name needs it: a run that only logs never loads an HTTP client.
"""

from __future__ import annotations

import difflib
import threading
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from highway_core.config import Settings, current_settings
from highway_core.errors import ToolNotFoundError
from highway_core.tools.builtin_tools import builtin_module, load_all_builtins, load_builtin
from highway_core.tools.decorators import TOOL_INFO, TOOL_REGISTRY, ToolInfo, plain_info, tool, tool_info
from highway_core.tools.tool_files import load_tools_dir, naming_the_culprit

ENTRY_POINT_GROUP = "highway_core.tools"


class ToolRegistry:
    """All tools of this process, as ``settings`` (default: those of the process) let them be found. Thread-safe.

    Registration is one table per process: a second registry with another ``tools_dir`` adds to it.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self._settings = current_settings() if settings is None else settings
        self._lock = threading.RLock()
        self._sources_loaded = False
        self._by_path: dict[str, ToolInfo] = {}

    @property
    def functions(self) -> dict[str, Callable[..., Any]]:
        """Every tool by name: the process's own dict, after everything that can be loaded has been."""
        with self._lock:
            load_all_builtins()
            self._load_sources()
        return TOOL_REGISTRY

    def names(self) -> list[str]:
        """Every tool's name, sorted. Loads everything."""
        return sorted(self.functions)

    def get_function(self, name: str) -> Callable[..., Any]:
        """The function behind ``name``; ToolNotFoundError (a KeyError) if there is none."""
        return self.resolve(name).function

    def resolve(self, name: str) -> ToolInfo:
        """The tool behind ``name``.

        ToolNotFoundError names the nearest tool; ConfigError says which file or package could not be loaded.
        """
        info = TOOL_INFO.get(name)
        if info is not None and TOOL_REGISTRY.get(name) is info.function:
            return info
        with self._lock:
            return self._find(name)

    def _find(self, name: str) -> ToolInfo:
        if name not in TOOL_REGISTRY:
            load_builtin(name)
        if name not in TOOL_REGISTRY:
            self._load_sources()
        if name in TOOL_REGISTRY:
            return tool_info(name)
        if self._is_allowed_path(name):
            return self._python_function(name)
        raise ToolNotFoundError(self._not_found(name))

    def _load_sources(self) -> None:
        if self._sources_loaded:
            return
        _load_entry_points()
        if self._settings.tools_dir is not None:
            load_tools_dir(self._settings.tools_dir)
        self._sources_loaded = True

    def _is_allowed_path(self, name: str) -> bool:
        module = name.rpartition(".")[0]
        return any(module == allowed or module.startswith(f"{allowed}.") for allowed in self._settings.tool_modules)

    def _python_function(self, name: str) -> ToolInfo:
        """The function at a dotted path whose module is allowed. Not put into the table: other runs may not name it."""
        if name in self._by_path:
            return self._by_path[name]
        module_name, _, attribute = name.rpartition(".")
        if not _exists(module_name):
            raise ToolNotFoundError(f"Tool '{name}' not found. There is no Python module '{module_name}'.")
        with naming_the_culprit(f"module '{module_name}' of HIGHWAY_TOOL_MODULES"):
            module = import_module(module_name)
        function = getattr(module, attribute, None)
        if not callable(function):
            what = "nothing called" if function is None else "no function, but a value, under"
            raise ToolNotFoundError(f"Tool '{name}' not found. Module '{module_name}' has {what} '{attribute}'.")
        info = self._by_path[name] = plain_info(name, function)
        return info

    def _not_found(self, name: str) -> str:
        near = difflib.get_close_matches(name, self.names(), 1)
        text = f"Tool '{name}' not found."
        if near:
            text += f" Did you mean '{near[0]}'?"
        module = name.rpartition(".")[0]
        if module and builtin_module(name) is None and _exists(module.partition(".")[0]):
            text += f" To call a Python function by its path, add '{module}' to HIGHWAY_TOOL_MODULES."
        return text


def _exists(module_name: str) -> bool:
    """Whether Python would find the module. Imports its parent packages, but not the module itself."""
    try:
        return find_spec(module_name) is not None
    except (ImportError, ValueError):
        return False


def _load_entry_points() -> None:
    """Import what installed packages offer: a module that registers its tools, or one function under its own name."""
    from importlib.metadata import entry_points  # noqa: PLC0415 - 40 ms, and only names that are not ours need it

    for point in entry_points(group=ENTRY_POINT_GROUP):
        package = f" of package '{point.dist.name}'" if point.dist else ""
        with naming_the_culprit(f"entry point '{point.name}' ({point.value}){package}"):
            loaded = point.load()
            if callable(loaded) and loaded not in TOOL_REGISTRY.values():
                tool(point.name)(loaded)
