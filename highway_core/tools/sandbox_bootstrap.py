"""Runs in the sandbox, as ``python -c <this text>``: a user's function, called with a context before its arguments.

Standard library only, because in there is nothing else for sure. The request comes as JSON on stdin. The answer,
``{"result", "variables"}``, is one line that begins with the mark of the request, written to a copy of stdout that user
code does not know of; whatever else is on stdout the user's code has printed.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import dataclasses
import enum
import importlib
import inspect
import json
import os
import sys
from typing import Any


class Context:
    """What the function learns of its run, and how it sets variables of it."""

    def __init__(self, about: dict[str, Any]) -> None:
        self.run_id: str = about["run_id"]
        self.workflow_name: str = about["workflow_name"]
        self.task_id: str = about["task_id"]
        self.attempt: int = about["attempt"]
        self._variables: dict[str, Any] = about["variables"]
        self.changed_variables: dict[str, Any] = {}

    def get_variable(self, name: str, default: Any = None) -> Any:
        """A variable or input of the run, or ``default``."""
        return self.changed_variables.get(name, self._variables.get(name, default))

    def set_variable(self, name: str, value: Any) -> None:
        """Set a variable of the run; the tasks that follow see it. TypeError or ValueError if JSON cannot hold it."""
        self.changed_variables[str(name)] = json.loads(_dumps(value))


def main() -> None:
    request = json.load(sys.stdin)
    answer = os.dup(1)
    sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: PTH123, SIM115 - for the user's code, to the end
    if request["artifact"]:
        sys.path.insert(0, os.path.abspath(request["artifact"]))  # noqa: PTH100 - zipimport wants text
    context = Context(request["context"])
    module, _, name = request["function"].rpartition(".")
    result = getattr(importlib.import_module(module), name)(context, *request["args"], **request["kwargs"])
    if inspect.iscoroutine(result):
        result = asyncio.run(result)
    text = _dumps({"result": result, "variables": context.changed_variables})
    with contextlib.suppress(OSError, ValueError):  # the user's code may have closed it
        sys.stdout.flush()
    _write(answer, f"\n{request['mark']}{text}\n".encode("utf-8", "surrogatepass"))


def _dumps(value: Any) -> str:
    return json.dumps(value, default=_plain, allow_nan=False)


def _plain(value: Any) -> Any:
    """The JSON form of what JSON does not know, as a result of any tool would be stored."""
    if isinstance(value, set | frozenset):
        return list(value)
    if isinstance(value, bytes | bytearray):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, enum.Enum):
        return value.value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    for method in ("model_dump", "isoformat"):
        if callable(getattr(value, method, None)) and not isinstance(value, type):
            return getattr(value, method)()
    if type(value).__name__ in {"Decimal", "UUID"} or isinstance(value, os.PathLike):
        return str(value)
    raise TypeError(f"A {type(value).__name__} has no JSON form and cannot be a result or a variable.")


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


if __name__ == "__main__":
    main()
