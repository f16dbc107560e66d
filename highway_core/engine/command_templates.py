"""Templates inside command lines: what the author wrote stays as it is, and every value stays one value.

The first argument of ``tools.shell.run``, and the only one of ``tools.command.run``, is a command line. A value that
comes into it from outside is quoted for the place where it stands (``utils.quoting``), so that no value can become a
second command. A command line that is one single reference *is* the value: the author handed the whole line over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from highway_core.engine.references import Lookup, Reference
from highway_core.engine.templates import CompiledValue, as_text, compile_value, text_parts
from highway_core.utils.quoting import ShellValue, render_shell, render_words

Renderer = Callable[[Sequence[str | ShellValue]], str]

_RENDERERS: dict[str, Renderer] = {"tools.shell.run": render_shell, "tools.command.run": render_words}
_COMMAND_KEY = "command"


def takes_command(function: str | None) -> bool:
    """True for a tool whose first argument is a command line."""
    return function in _RENDERERS


def compile_command(function: str, value: Any) -> CompiledValue:
    """The ``args`` list or ``kwargs`` dict of such a tool; ExpressionError as in ``compile_value``."""
    render = _RENDERERS[function]
    if isinstance(value, list) and value and isinstance(value[0], str):
        if len(value) > 1 and render is render_words:
            return compile_value(value)  # several words are passed on as they are
        return _Args(_line(value[0], render), compile_value(value[1:]))
    if isinstance(value, dict) and isinstance(value.get(_COMMAND_KEY), str):
        rest = {key: one for key, one in value.items() if key != _COMMAND_KEY}
        return _Kwargs(_line(value[_COMMAND_KEY], render), compile_value(rest))
    return compile_value(value)


def _line(text: str, render: Renderer) -> CompiledValue:
    whole = compile_value(text)
    parts = text_parts(text)
    if whole.constant or len(parts) == 1:
        return whole
    render([part if isinstance(part, str) else ShellValue("0") for part in parts])  # refuses what cannot be quoted
    return _Line(parts, render)


class _Line(CompiledValue):
    __slots__ = ("_parts", "_render", "references")

    def __init__(self, parts: Sequence[str | Reference], render: Renderer) -> None:
        self._parts = tuple(parts)
        self._render = render
        self.references = tuple(part for part in parts if isinstance(part, Reference))

    def resolve(self, lookup: Lookup) -> str:
        return self._render(
            [part if isinstance(part, str) else ShellValue(as_text(lookup.lookup(part))) for part in self._parts]
        )


class _Args(CompiledValue):
    __slots__ = ("_first", "_rest", "references")

    def __init__(self, first: CompiledValue, rest: CompiledValue) -> None:
        self._first = first
        self._rest = rest
        self.references = first.references + rest.references

    def resolve(self, lookup: Lookup) -> list[Any]:
        return [self._first.resolve(lookup), *self._rest.resolve(lookup)]


class _Kwargs(CompiledValue):
    __slots__ = ("_command", "_rest", "references")

    def __init__(self, command: CompiledValue, rest: CompiledValue) -> None:
        self._command = command
        self._rest = rest
        self.references = command.references + rest.references

    def resolve(self, lookup: Lookup) -> dict[str, Any]:
        return {_COMMAND_KEY: self._command.resolve(lookup), **self._rest.resolve(lookup)}
