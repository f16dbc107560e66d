"""From the arguments to the exit code: picks the command, and says in one sentence what went wrong.

A command's modules are imported when it was chosen: ``run`` needs no web client, ``--help`` needs nothing at all.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import logging
import os
import signal
import sys
from importlib import import_module
from types import TracebackType
from typing import Any, NoReturn

from highway_core.cli.logs import configure_logging
from highway_core.cli.messages import EXPECTED, error_message
from highway_core.cli.output import Output
from highway_core.cli.parser import parse
from highway_core.cli.signals import exit_code
from highway_core.cli.text import printable
from highway_core.errors import HighwayError

_MODULES = {
    "run": "highway_core.cli.run_command",
    "validate": "highway_core.cli.validate_command",
    "durable": "highway_core.cli.durable_command",
    "schema": "highway_core.cli.schema_command",
    "webhooks": "highway_core.cli.webhooks_command",
}
_logger = logging.getLogger(__name__)


def execute(arguments: list[str]) -> int:
    """Carry out one command; its exit code. argparse ends the process itself on bad usage."""
    options = parse(arguments)
    verbose: int = getattr(options, "verbose", 0)
    output = Output(json_only=getattr(options, "json", False))
    configure_logging(verbose, service=getattr(options, "durable_command", "").startswith("start-"))
    if verbose < 2:
        sys.excepthook = _say_defect
    try:
        code: int = _load(options.command)(options, output)
    except (HighwayError, *EXPECTED) as error:
        _logger.debug("the command failed", exc_info=True)
        output.complain(f"Error: {error_message(error)}")
        return 1
    except KeyboardInterrupt:
        output.complain("Interrupted.")
        return exit_code(signal.SIGINT)
    return code


def leave(code: int) -> NoReturn:
    """End the process, without taking the interpreter apart.

    That takes 50 ms, waits for threads that a tool left running, and can crash those of them that are in C code.
    """
    atexit._run_exitfuncs()  # noqa: SLF001 - it has no public name
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _load(command: str) -> Any:
    """The function behind a command.

    What is imported stays until the end, so the garbage collector is spared looking at it, now and later.
    """
    gc.disable()
    function = import_module(_MODULES[command]).run
    gc.freeze()
    gc.enable()
    return function


def _say_defect(kind: type[BaseException], error: BaseException, _trace: TracebackType | None) -> None:
    said = f"{kind.__name__}: {printable(str(error))}".rstrip(": ")
    sys.stderr.write(f"Error: {said}. This is a defect of Highway; -vv shows where it is.\n")
