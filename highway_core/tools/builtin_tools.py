"""Which module holds which tools of Highway's own: known by name, so that a run imports only the tools it uses."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType

BUILTIN_MODULES: Mapping[str, str] = MappingProxyType(
    {
        "api.payment_gateway": "api",
        "db": "db",
        "email": "email",
        "human": "human",
        "tools.ansible": "ansible",
        "tools.code": "code",
        "tools.command": "command",
        "tools.database": "database",
        "tools.fetch": "fetch",
        "tools.filesystem": "filesystem",
        "tools.http": "http",
        "tools.llm": "llm",
        "tools.log": "log",
        "tools.memory": "memory",
        "tools.python": "python",
        "tools.shell": "shell",
        "tools.transform": "transform",
        "tools.webhook": "webhook",
        "tools.workflow": "workflow",
    }
)
"""A tool's name without its last part → the module of this package that registers it. A test holds it true."""


def builtin_module(tool_name: str) -> str | None:
    """The full name of the module that registers ``tool_name`` if it is one of Highway's own."""
    module = BUILTIN_MODULES.get(tool_name.rpartition(".")[0])
    return f"{__package__}.{module}" if module else None


def load_builtin(tool_name: str) -> None:
    """Import the module where ``tool_name`` would be, if its name says that it is one of Highway's own."""
    module = builtin_module(tool_name)
    if module is not None:
        import_module(module)


def load_all_builtins() -> None:
    for module in BUILTIN_MODULES.values():
        import_module(f"{__package__}.{module}")
