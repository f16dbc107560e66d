"""Tools for tests of the child process: an importable module, as a tool that is to be killed needs one."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from highway_core.errors import PermanentTaskError, TaskError
from highway_core.tools.context import AwaitApproval, ReadBranches, ToolContext, current_context
from highway_core.tools.decorators import tool


class OwnError(LookupError):
    """An error that only this module knows."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)

    def __str__(self) -> str:
        return f"code {self.args[0]}: {self.args[1]}"


@tool("child.echo")
def echo(*args: Any, **kwargs: Any) -> dict[str, Any]:
    return {"args": list(args), "kwargs": kwargs, "pid": os.getpid()}


@tool("child.context")
def context(ctx: ToolContext, name: str) -> dict[str, Any]:
    again = current_context()
    ctx.set_variable("seen", [ctx.get_variable(name)])
    return {
        "ids": [ctx.run_id, ctx.workflow_name, ctx.task_id, ctx.attempt, ctx.idempotency_key],
        "same": again is ctx,
        "variable": ctx.get_variable(name),
        "input": ctx.inputs.get("given"),
        "result": ctx.state.results.get("before"),
        "memory": ctx.state.memory.get("kept"),
        "limit": ctx.settings.max_output_bytes,
        "root": str(ctx.settings.files_root),
        "modules": list(ctx.settings.tool_modules),
        "smtp": ctx.settings.smtp and ctx.settings.smtp.password,
    }


@tool("child.fail")
def fail(kind: str) -> None:
    raise {
        "value": ValueError("bad value"),
        "key": KeyError("missing"),
        "os": FileNotFoundError(2, "No such file", "x.txt"),
        "unicode": UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
        "own": OwnError(7, "out of beans"),
        "runtime": RuntimeError("it broke"),
        "plain": Exception("as plain as can be"),
        "empty": ValueError(),
        "task": TaskError("told so"),
        "permanent": PermanentTaskError("never again"),
        "group": ExceptionGroup("several", [ValueError("one"), KeyError("two")]),
        "surrogate": ValueError("half \ud800 a pair \0"),
    }[kind]


@tool("child.die")
def die(how: str) -> Any:
    match how:
        case "exit":
            sys.exit(3)
        case "interrupt":
            raise KeyboardInterrupt
        case "os exit":
            os._exit(3)
        case "kill":
            os.kill(os.getpid(), 9)
        case "segfault":
            os.kill(os.getpid(), 11)
        case "close":
            os.closerange(0, 100)
    return how


@tool("child.print")
def print_much(size: int, text: str = "x") -> str:
    print("to stdout", file=sys.stdout, flush=True)
    os.write(1, (text * size).encode())
    logging.getLogger("some.tool").warning("a warning of the tool")
    return "done"


@tool("child.sleep")
def sleep(word: str, seconds: float = 60) -> None:
    with subprocess.Popen(["sleep", word]), subprocess.Popen(["setsid", "sleep", word]):
        time.sleep(seconds)


@tool("child.return")
def give(kind: str) -> Any:
    circular: list[Any] = []
    circular.append(circular)
    return {
        "path": Path("/x"),
        "nan": {"a": [1.0, float("nan")]},
        "object": {"a": object()},
        "circular": circular,
        "big": "x" * 3_000_000,
        "approval": AwaitApproval("ok?", "boss@example.org"),
        "branches": ReadBranches({"a": 1}),
        "tuple": (1, (2, 3)),
    }[kind]


@tool("child.async")
async def wait_a_little(value: Any) -> Any:
    await asyncio.sleep(0.01)
    return [value, current_context() is not None]


@tool("child.thread")
def leave_a_thread() -> str:
    threading.Thread(target=time.sleep, args=(60,)).start()
    return "left"


@tool("child.fork")
def fork() -> str:
    return "child" if os.fork() == 0 else "parent"


@tool("child.stdin")
def read_stdin() -> str:
    return sys.stdin.read()


tool("child.lambda")(lambda value: value * 2)


class Methods:
    @staticmethod
    def inner(value: int) -> int:
        return value + 1


tool("child.method")(Methods.inner)
