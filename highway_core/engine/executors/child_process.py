"""Calls a tool in a process of its own, a fresh interpreter, so that it can be killed with all that it started.

The child is told by JSON on its stdin which function to import and what to call it with, and answers by JSON on a
pipe of its own; nothing is pickled, and nothing of the engine's memory is shared. What the tool prints comes out of
our stderr. It sees a copy of the run's state: variables that it sets through its context come back, other writes
do not.
"""

from __future__ import annotations

import codecs
import contextlib
import json
import logging
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from highway_core.engine.executors.base import Work
from highway_core.engine.executors.child_wire import pack_context, to_json, unpack_directive, unpack_error
from highway_core.errors import TaskError
from highway_core.tools.context import ToolContext
from highway_core.tools.decorators import ToolInfo
from highway_core.utils.processes import Command, ProcessResult, carry_out

_ROOT = Path(__file__).parents[3]
_PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv[1]); from highway_core.engine.executors.child_main import main; main()"
)
_ANSWER_FACTOR = 16
"""An answer may be longer than the result in it: JSON escapes, and the variables that the tool set."""
_WAY_OUT = (
    "Define it at the top level of an importable module, or register it with @tool(…, stoppable=True) if it heeds "
    "its context's stop scope, or set kill_on_timeout: false."
)


def call_in_child(info: ToolInfo, work: Work, context: ToolContext) -> Any:
    """The tool's result. Raises what the tool raised (see :func:`unpack_error`), and what :func:`carry_out` raises."""
    settings = context.settings
    request = {
        "tool": _place(info),
        "path": sys.path,
        "args": work.args,
        "kwargs": work.kwargs,
        "context": pack_context(context),
        "sandbox": context.sandbox is not None,
        "log_level": logging.getLogger().getEffectiveLevel(),
    }
    command = Command(
        argv=(sys.executable, "-P", *(f"-W{option}" for option in sys.warnoptions), "-c", _PROGRAM, str(_ROOT)),
        max_output=settings.max_output_bytes,
        name=info.name,
        stdin=to_json(request),
        timeout=work.kill_after,
        answer_limit=settings.max_result_bytes * _ANSWER_FACTOR,
        on_stderr=_echo(),
    )
    return _result(info, carry_out(command, context.stop), context)


def _place(info: ToolInfo) -> dict[str, Any]:
    """Where a fresh interpreter finds the function."""
    module = getattr(info.function, "__module__", None)
    if module is None or module == "__main__":
        raise _unreachable(info, "it belongs to the program itself (__main__), which only this process runs")
    return {
        "name": info.name,
        "module": module,
        "qualname": getattr(info.function, "__qualname__", ""),
        "file": getattr(sys.modules.get(module), "__file__", None),
        "inject": info.inject,
    }


def _unreachable(info: ToolInfo, reason: str) -> TaskError:
    return TaskError(
        f"Tool '{info.name}' has a timeout that kills, so it runs in a process of its own, where it is not found: "
        f"{reason}. {_WAY_OUT}"
    )


def _result(info: ToolInfo, ended: ProcessResult, context: ToolContext) -> Any:
    try:
        answer = json.loads(ended.stdout)
    except ValueError:
        raise TaskError(_untimely_end(info, ended.returncode)) from None
    if "not_here" in answer:
        raise _unreachable(info, answer["not_here"])
    if "error" in answer:
        raise unpack_error(answer["error"])
    context.changed_variables.update(answer["changed"])
    return unpack_directive(answer["directive"]) if "directive" in answer else answer["result"]


def _untimely_end(info: ToolInfo, returncode: int) -> str:
    if returncode >= 0:
        return f"Tool '{info.name}' ended its process with exit code {returncode} instead of returning."
    guess = "out of memory?" if -returncode == signal.SIGKILL else signal.strsignal(-returncode)
    return f"Tool '{info.name}' was killed by signal {-returncode} ({guess})."


def _echo() -> Callable[[bytes], None]:
    """Passes on what the tool prints, as it comes."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def echo(data: bytes) -> None:
        with contextlib.suppress(OSError, ValueError):  # our own stderr is closed: nobody listens
            sys.stderr.write(decoder.decode(data))
            sys.stderr.flush()

    return echo
