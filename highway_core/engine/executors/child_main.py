"""What runs inside the child process of a tool; see :mod:`highway_core.engine.executors.child_process`.

Takes the request from stdin, calls the tool, writes the answer to what was stdout. The tool's own stdout is stderr.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from collections.abc import Callable
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from types import CoroutineType, ModuleType
from typing import Any

from highway_core.engine.executors.child_wire import pack_directive, pack_error, to_json, unpack_context
from highway_core.tools.context import AwaitApproval, ReadBranches, StartWorkflow, ToolContext, enter_context
from highway_core.tools.decorators import TOOL_REGISTRY
from highway_core.tools.tool_files import load_tools_dir
from highway_core.utils.json_values import to_storable


class _NotHereError(Exception):
    """The tool exists in the engine's process, but a fresh interpreter does not find it."""


def main() -> None:
    answering = os.dup(1)
    os.dup2(2, 1)
    request = json.loads(sys.stdin.buffer.read())
    sys.path[:] = request["path"]
    logging.basicConfig(level=request["log_level"], format="%(levelname)s %(name)s: %(message)s")
    process = os.getpid()
    answer = to_json(_answer(request))
    if os.getpid() != process:
        os._exit(0)  # a fork that the tool forgot; it has nothing to say
    with os.fdopen(answering, "wb") as stream:
        stream.write(answer)
    _flush()
    if any(not thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread()):
        os._exit(0)  # the tool has returned; what it left running is over


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    try:
        context = unpack_context(request["context"])
        if request["sandbox"]:
            from highway_core.engine.executors.sandbox import SandboxExecutor  # noqa: PLC0415 - few tools use it

            context.sandbox = SandboxExecutor()
        enter_context(context)
        function = _find(request["tool"], context)
        result = function(*_injected(request["tool"]["inject"], context), *request["args"], **request["kwargs"])
        if isinstance(result, CoroutineType):
            result = _awaited(result)
        return _packed(result, context)
    except _NotHereError as error:
        return {"not_here": str(error)}
    except BaseException as error:  # noqa: BLE001 - the tool may raise anything; the engine wants to hear of it
        return {"error": pack_error(error)}


def _awaited(coroutine: CoroutineType[Any, Any, Any]) -> Any:
    import asyncio  # noqa: PLC0415 - slow to import, and few tools are asynchronous

    return asyncio.run(coroutine)


def _packed(result: Any, context: ToolContext) -> dict[str, Any]:
    limit = context.settings.max_result_bytes
    changed, _ = to_storable(context.changed_variables, max_bytes=limit, name="variables")
    if isinstance(result, AwaitApproval | StartWorkflow | ReadBranches):
        return {"directive": pack_directive(result), "changed": changed}
    return {"result": to_storable(result, max_bytes=limit)[0], "changed": changed}


def _injected(inject: str, context: ToolContext) -> tuple[Any, ...]:
    if inject == "context":
        return (context,)
    return (context.state,) if inject == "state" else ()


def _find(tool: dict[str, Any], context: ToolContext) -> Callable[..., Any]:
    """The function, by the tool's name if importing its module registers that, else by its place in the module."""
    module = _module(tool["module"], tool["file"], context)
    if tool["name"] in TOOL_REGISTRY:
        return TOOL_REGISTRY[tool["name"]]
    found: Any = module
    for part in tool["qualname"].split("."):
        found = getattr(found, part, None)
    if not callable(found):
        raise _NotHereError(f"importing module '{tool['module']}' does not bring '{tool['qualname']}' about")
    function: Callable[..., Any] = found
    return function


def _module(name: str, file: str | None, context: ToolContext) -> ModuleType:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
            raise
    if context.settings.tools_dir is not None:
        load_tools_dir(context.settings.tools_dir)
        if name in sys.modules:
            return sys.modules[name]
    spec = None if file is None else spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise _NotHereError(f"there is no module '{name}' that it could import")
    module = sys.modules[name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and not stream.closed:
            stream.flush()
