"""What crosses between the engine and the child process of a tool, as JSON: contexts, settings, wishes, errors."""

from __future__ import annotations

import builtins
import dataclasses
import json
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from highway_core.config import Settings, SmtpSettings
from highway_core.tools.context import AwaitApproval, Directive, ReadBranches, StartWorkflow, ToolContext
from highway_core.utils.stopping import StopScope

_TRACE = 4_000
"""How much of the end of a traceback is kept."""


@dataclass(slots=True)
class StateCopy:
    """The run's state as the child sees it: a copy, taken when the tool was called."""

    memory: dict[str, Any]
    variables: dict[str, Any]
    results: dict[str, Any]


def to_json(value: Any) -> bytes:
    """JSON text that holds no byte but ASCII; what JSON does not know goes as pydantic encodes it."""
    return json.dumps(value, default=_encoded).encode("ascii")


def _encoded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    from pydantic_core import to_jsonable_python  # noqa: PLC0415 - slow to import, and documents hold plain values

    return to_jsonable_python(value)


def pack_context(context: ToolContext) -> dict[str, Any]:
    return {
        "run_id": context.run_id,
        "workflow_name": context.workflow_name,
        "task_id": context.task_id,
        "attempt": context.attempt,
        "idempotency_key": context.idempotency_key,
        "inputs": dict(context.inputs),
        "state": {
            "memory": dict(context.state.memory),
            "variables": dict(context.state.variables),
            "results": dict(context.state.results),
        },
        "settings": _pack_settings(context.settings),
    }


def unpack_context(packed: dict[str, Any]) -> ToolContext:
    """A context with a stop scope of its own: the child is stopped by a signal."""
    state = StateCopy(**packed.pop("state"))
    settings = _unpack_settings(packed.pop("settings"))
    return ToolContext(**packed, settings=settings, stop=StopScope(), state=state)


def _pack_settings(settings: Settings) -> dict[str, Any]:
    values = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
    paths = [name for name, value in values.items() if isinstance(value, Path)]
    values |= {name: str(values[name]) for name in paths}
    values["smtp"] = None if settings.smtp is None else dataclasses.asdict(settings.smtp)
    return {"values": values, "paths": paths}


def _unpack_settings(packed: dict[str, Any]) -> Settings:
    values = packed["values"]
    values |= {name: Path(values[name]) for name in packed["paths"]}
    values |= {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
    if values["smtp"] is not None:
        values["smtp"] = SmtpSettings(**values["smtp"])
    return Settings(**values)


def pack_directive(directive: Directive) -> dict[str, Any]:
    """A wish of the tool; :func:`unpack_directive` gives an equal one."""
    fields = {field.name: getattr(directive, field.name) for field in dataclasses.fields(directive)}
    if isinstance(directive, ReadBranches) and directive.timeout is not None:
        fields["timeout"] = directive.timeout.total_seconds()
    return {"kind": type(directive).__name__, "fields": fields}


def unpack_directive(packed: dict[str, Any]) -> Directive:
    fields = packed["fields"]
    match packed["kind"]:
        case "AwaitApproval":
            return AwaitApproval(**{**fields, "choices": tuple(fields["choices"])})
        case "StartWorkflow":
            return StartWorkflow(**fields)
        case _:
            seconds = fields["timeout"]
            return ReadBranches(fields["value"], None if seconds is None else timedelta(seconds=seconds))


def pack_error(error: BaseException) -> dict[str, Any]:
    kinds = [(kind.__module__, kind.__name__) for kind in type(error).__mro__]
    trace = "".join(traceback.format_exception(error))
    return {"kinds": kinds, "text": str(error), "trace": trace[-_TRACE:]}


def unpack_error(packed: dict[str, Any]) -> Exception:
    """An exception that says the same, under the same name, and is what the original was as far as we know its kinds.

    What a tool raised beyond ``Exception`` (``SystemExit``, ``KeyboardInterrupt``) ended the child, not us: it comes as
    an ordinary exception of that name.
    """
    text = packed["text"]
    above: list[tuple[str, str]] = []
    base: type[Exception] = Exception
    for module, name in packed["kinds"]:
        known = _known_kind(module, name)
        if known is not None:
            base = known
            break
        if module != "builtins" or name != "BaseException":
            above.append((module, name))
    error = None if above else _simply(base, text)
    if error is None:
        error = _disguised(base, above or [(base.__module__, base.__name__)], text)
    error.add_note(f"In the child process:\n{packed['trace']}")
    return error


def _known_kind(module: str, name: str) -> type[Exception] | None:
    home = builtins if module == "builtins" else sys.modules.get(module)
    kind = getattr(home, name, None) if module == "builtins" or module.startswith("highway_core.") else None
    if isinstance(kind, type) and issubclass(kind, Exception) and not issubclass(kind, BaseExceptionGroup):
        return kind
    return None


def _simply(kind: type[Exception], text: str) -> Exception | None:
    try:
        error = kind(text)
    except TypeError:  # it wants other arguments than a text
        return None
    return error if str(error) == text else None


def _disguised(base: type[Exception], names: list[tuple[str, str]], text: str) -> Exception:
    kind = base
    for module, name in reversed(names):
        kind = type(name, (kind,), {"__module__": module, "__str__": lambda _: text})
    error: Exception = kind.__new__(kind, text)
    error.args = (text,)
    return error
