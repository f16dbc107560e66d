"""The ``python`` runtime: calls a registered tool in the calling thread, or where a timeout can kill it."""

from __future__ import annotations

import contextlib
from types import CoroutineType
from typing import Any

from highway_core.engine.executors.base import BaseExecutor, ExecutionContext, Work
from highway_core.errors import TaskError, ToolNotFoundError
from highway_core.tools.context import current_context, enter_context
from highway_core.tools.decorators import ToolInfo
from highway_core.utils.stopping import StopScope


class LocalPythonExecutor(BaseExecutor):
    """Calls tools.

    A thread cannot be killed. So a tool with a killing timeout runs in a process of its own, unless it stops its work
    by itself (``stoppable``), takes part in the engine's transaction (``transactional``), or only answers with a wish
    that the engine carries out (other ``human.*``).
    """

    runtime = "python"

    def execute(self, work: Work, ctx: ExecutionContext) -> Any:
        """Raises ToolNotFoundError, BulkheadError, or whatever the tool raises."""
        info = _resolve(work.function or "", ctx)
        bulkhead = ctx.bulkheads.for_tool(info, ctx.settings)
        if bulkhead is None:
            return _call(info, work, ctx)
        with bulkhead.context(ctx.tool.stop):
            return _call(info, work, ctx)


def _resolve(name: str, ctx: ExecutionContext) -> ToolInfo:
    try:
        return ctx.registry.resolve(name)
    except ToolNotFoundError as error:
        raise ToolNotFoundError(f"Function '{name}' not found in registry. {error}") from None


def _call(info: ToolInfo, work: Work, ctx: ExecutionContext) -> Any:
    if work.kill_after is not None and not (info.transactional or info.stoppable or info.inject == "human"):
        from highway_core.engine.executors.child_process import call_in_child  # noqa: PLC0415 - few tasks need it

        return call_in_child(info, work, ctx.tool)
    outer = current_context()
    enter_context(ctx.tool)
    try:
        result = info.function(*_injected(info, ctx), *work.args, **work.kwargs)
        return _awaited(result, ctx.tool.stop) if isinstance(result, CoroutineType) else result
    finally:
        enter_context(outer)


def _injected(info: ToolInfo, ctx: ExecutionContext) -> tuple[Any, ...]:
    match info.inject:
        case "context":
            return (ctx.tool,)
        case "state":
            return (ctx.tool.state,)
        case "human":
            return ctx.tool.state, ctx, ctx.tool.task_id, ctx.tool.run_id
        case _:
            return ()


def _awaited(coroutine: CoroutineType[Any, Any, Any], stop: StopScope) -> Any:
    """The result of an asynchronous tool; stopping the attempt cancels it."""
    import asyncio  # noqa: PLC0415 - slow to import, and few tools are asynchronous

    async def supervise() -> Any:
        loop = asyncio.get_running_loop()
        task = asyncio.ensure_future(coroutine)

        def cancel() -> None:
            with contextlib.suppress(RuntimeError):  # it has just ended by itself
                loop.call_soon_threadsafe(task.cancel)

        with stop.on_stop(cancel):
            return await task

    try:
        return asyncio.run(supervise())
    except asyncio.CancelledError as error:
        stop.check()
        raise TaskError("The tool cancelled itself (asyncio.CancelledError).") from error
