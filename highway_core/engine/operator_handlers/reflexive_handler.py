"""``reflexive``: generate, verify, and generate again with what the verifier said.

The generator is called with ``generator_kwargs``, the verifier with ``verifier_kwargs`` and, unless these already say
where it goes, the generator's output as ``output``. In all of them ``{{output}}``, ``{{feedback}}`` and ``{{turn}}``
(from 1) stand for the last turn. The verifier rejects by raising, by a false value, or by a mapping whose ``ok``,
``valid``, ``passed``, ``accepted`` or ``verified`` is false; its ``feedback``, ``error`` or ``reason`` is the feedback.
After a rejection the generator's ``prompt`` is ``correction_prompt_template``, or its first prompt with the feedback.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from highway_core.engine.context import TaskContext
from highway_core.engine.decisions import Decision, Finish
from highway_core.engine.executors.base import Work
from highway_core.engine.models import ReflexiveOperatorModel
from highway_core.errors import TaskError, TaskStoppedError

_VERDICT_KEYS = ("ok", "valid", "passed", "accepted", "verified")
_FEEDBACK_KEYS = ("feedback", "error", "reason", "message")


def decide(task: ReflexiveOperatorModel, ctx: TaskContext) -> Decision:
    """The accepted output with the history of all turns; TaskError with the last feedback if none is accepted."""
    history: list[dict[str, Any]] = []
    names: dict[str, Any] = dict.fromkeys(("output", "feedback", "error", "verdict"))
    for turn in range(1, task.max_turns + 1):
        names["turn"] = turn
        output = _call(ctx, task.generator, _generator_kwargs(task, ctx, names))
        accepted, verdict, feedback = _verify(task, ctx, {**names, "output": output})
        history.append({"turn": turn, "output": output, "accepted": accepted, "verdict": verdict, "feedback": feedback})
        if accepted:
            return Finish({"output": output, "turns": turn, "history": history})
        names |= {"output": output, "feedback": feedback, "error": feedback, "verdict": verdict}
    raise TaskError(f"not accepted after {task.max_turns} turns; the last verdict: {names['feedback']}")


def _generator_kwargs(task: ReflexiveOperatorModel, ctx: TaskContext, names: Mapping[str, Any]) -> dict[str, Any]:
    kwargs: dict[str, Any] = ctx.resolve("generator_kwargs", names)
    if names["turn"] == 1:
        return kwargs
    if task.correction_prompt_template is not None:
        kwargs["prompt"] = ctx.resolve("correction_prompt_template", names)
    elif "prompt" in kwargs:
        kwargs["prompt"] = f"{kwargs['prompt']}\n\nThe last answer was rejected: {names['feedback']}"
    return kwargs


def _verify(task: ReflexiveOperatorModel, ctx: TaskContext, names: Mapping[str, Any]) -> tuple[bool, Any, str | None]:
    compiled = ctx.node.templates.get("verifier_kwargs")
    kwargs: dict[str, Any] = ctx.resolve("verifier_kwargs", names)
    if compiled is None or not any(reference.root == "output" for reference in compiled.references):
        kwargs.setdefault("output", names["output"])
    try:
        verdict = _call(ctx, task.verifier, kwargs)
    except TaskStoppedError:
        raise
    except TaskError as error:
        return False, None, str(error)
    if not isinstance(verdict, Mapping):
        return bool(verdict) or verdict is None, verdict, None if verdict else f"the verifier answered {verdict!r}"
    accepted = all(verdict[key] for key in _VERDICT_KEYS if key in verdict)
    feedback = next((str(verdict[key]) for key in _FEEDBACK_KEYS if verdict.get(key)), None)
    return accepted, dict(verdict), feedback if accepted or feedback else f"the verifier answered {dict(verdict)!r}"


def _call(ctx: TaskContext, function: str, kwargs: dict[str, Any]) -> Any:
    return ctx.execute(Work(function=function, kwargs=kwargs))
