"""``emit_event`` and ``wait_for_event``."""

from __future__ import annotations

from datetime import timedelta

from highway_core.engine.context import TaskContext
from highway_core.engine.decisions import AwaitEvent, Decision, Finish
from highway_core.engine.models import EmitEventOperatorModel, WaitForEventOperatorModel


def decide_emit(task: EmitEventOperatorModel, ctx: TaskContext) -> Decision:  # noqa: ARG001 - one signature for all
    """Store the event; the result names it and holds its payload."""
    name = str(ctx.resolve("event_name"))
    payload = ctx.resolve("payload")
    return Finish({"event": name, "payload": payload}, emits=(name, payload))


def decide_wait(task: WaitForEventOperatorModel, ctx: TaskContext) -> Decision:
    """Complete with the payload of the newest event of that name, at once if it is there already."""
    seconds = task.timeout_seconds
    deadline = None if seconds is None else ctx.now + timedelta(seconds=seconds)
    return AwaitEvent(str(ctx.resolve("event_name")), deadline)
