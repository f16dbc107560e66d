"""From plain data to the models of :mod:`.models`, reporting everything that is wrong on the way.

Operators are validated one by one, so that one wrong task does not hide the problems of the others; a task that cannot
be validated leaves a placeholder with its id and dependencies, so that names can still be checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from highway_core.engine.graph import MAX_NESTING
from highway_core.engine.models import OPERATORS, BaseOperatorModel, BranchWorkflow, WorkflowModel
from highway_core.engine.policies import DocumentPart
from highway_core.engine.report import Report
from highway_core.engine.source_document import Place
from highway_core.engine.wrong_fields import MISSING, wrong_fields
from highway_core.utils.naming import did_you_mean

_FOREIGN: Mapping[str, str] = {
    "retries": "retry_policy: {max_retries: …}",
    "retry": "retry_policy",
    "needs": "dependencies",
    "depends": "dependencies",
    "after": "dependencies",
    "type": "operator_type",
    "tool": "function",
    "body": "loop_body",
    "timeout": "timeout_policy: {timeout: …} or timeout_seconds",
    "when": "a condition operator",
    "steps": "tasks",
}
"""How other engines call things; a document that uses these names would silently mean something else."""

_LOOPS = frozenset({"foreach", "while"})
_CONTAINERS = frozenset({"loop_body", "branch_workflows"})


def parse_workflow(data: Mapping[str, Any], report: Report) -> WorkflowModel | None:
    """The whole document, also if its frame is wrong, so that its tasks can be checked; None if nothing can be."""
    raw = dict(data)
    tasks = raw.get("tasks")
    parsed: dict[str, Any] = {}
    if isinstance(tasks, dict):
        parsed = _parse_tasks(tasks, ("tasks",), report)
        if not tasks:
            report.add(("tasks",), "the workflow has no tasks")
    elif tasks is not None:
        report.add(("tasks",), f"'tasks' must map ids to tasks, not be {_kind(tasks)}")
    raw["tasks"] = {}
    if tasks is None:
        raw.pop("tasks")
    model = _validated(WorkflowModel, raw, (), report) or _frame(raw)
    if model is None:
        return None
    assert isinstance(model, WorkflowModel)  # noqa: S101 - what was asked for
    _check_keys(model, (), report)
    model.tasks.update(parsed)
    if model.start_task is not None and model.start_task not in parsed:
        report.add(
            ("start_task",),
            f"start_task names '{model.start_task}', which does not exist",
            did_you_mean(model.start_task, parsed),
        )
    return model


def _frame(raw: Mapping[str, Any]) -> WorkflowModel | None:
    """What is left of a frame that is wrong: what its tasks need to know of it, and its unknown keys. None if even the
    tasks or the variables are no mapping."""
    variables = raw.get("variables") or {}
    if "tasks" not in raw or not isinstance(variables, dict):
        return None
    frame = WorkflowModel.model_construct(name="", variables=_named(variables), tasks={})
    assert frame.model_extra is not None  # noqa: S101 - unknown keys are kept
    for key, value in _named(raw).items():
        if key not in WorkflowModel.model_fields and value is not None:
            frame.model_extra[key] = value
    return frame


def _named(values: Mapping[Any, Any]) -> dict[str, Any]:
    """Without the keys that are no text: a document that was made in Python may have such."""
    return {key: value for key, value in values.items() if isinstance(key, str)}


def _parse_tasks(tasks: Mapping[str, Any], place: Place, report: Report) -> dict[str, Any]:
    """Task id → model; a placeholder is no member of the union of operators, hence Any."""
    parsed = {}
    for task_id, raw in tasks.items():
        task = _parse_operator(raw, (*place, task_id), report, task_id)
        if task is not None:
            parsed[task_id] = task
    return parsed


def _parse_operator(raw: Any, place: Place, report: Report, task_id: str | None = None) -> BaseOperatorModel | None:
    if not isinstance(raw, dict):
        report.add(place, f"a task must be a mapping, not {_kind(raw)}")
        return None
    raw = {key: value for key, value in raw.items() if value is not None}
    if task_id is not None and raw.setdefault("task_id", task_id) != task_id:
        report.add((*place, "task_id"), f"the task stands under '{task_id}' but calls itself '{raw['task_id']}'")
        raw["task_id"] = task_id
    kind = raw.get("operator_type")
    model = OPERATORS.get(kind) if isinstance(kind, str) else None
    if model is None:
        if kind is None:
            report.add(place, "missing field 'operator_type'", f"one of {', '.join(OPERATORS)}")
        else:
            hint = did_you_mean(str(kind), OPERATORS) or f"one of {', '.join(OPERATORS)}"
            report.add((*place, "operator_type"), f"unknown operator '{kind}'", hint)
        return _placeholder(raw, task_id)
    if sum(step in _CONTAINERS for step in place) >= MAX_NESTING and raw.keys() & _CONTAINERS:
        report.add(place, f"operators nest deeper than {MAX_NESTING}, the limit")
        return _placeholder(raw, task_id)
    inner = _parse_inner(raw, place, report)
    task = _validated(model, raw, place, report)
    if task is None:
        return _placeholder(raw, task_id)
    assert isinstance(task, BaseOperatorModel)  # noqa: S101 - every entry of OPERATORS is one
    for name, parsed in inner.items():
        setattr(task, name, parsed)
    _check_keys(task, place, report)
    return task


def _parse_inner(raw: dict[str, Any], place: Place, report: Report) -> dict[str, Any]:
    """Take the operators out of ``raw``; field → their models, or the placeholders of those that are wrong."""
    inner: dict[str, Any] = {}
    body = raw.get("loop_body", [] if raw["operator_type"] in _LOOPS else None)
    if isinstance(body, list):
        if not body and raw["operator_type"] in _LOOPS:
            report.add((*place, "loop_body"), f"the loop '{raw.get('task_id', '')}' has no body")
        parsed = (_parse_operator(one, (*place, "loop_body", n), report) for n, one in enumerate(body))
        inner["loop_body"] = [task for task in parsed if task is not None]
        raw["loop_body"] = []
    branches = raw.get("branch_workflows")
    if isinstance(branches, dict):
        inner["branch_workflows"] = {
            label: _parse_branch(branch, (*place, "branch_workflows", label), report)
            for label, branch in branches.items()
        }
        raw["branch_workflows"] = {}
    return inner


def _parse_branch(raw: Any, place: Place, report: Report) -> Any:
    if not isinstance(raw, dict) or not isinstance(raw.get("tasks"), dict):
        report.add(place, "a branch workflow must be a mapping with 'tasks'")
        return BranchWorkflow()
    branch = BranchWorkflow(name=str(raw.get("name") or ""), variables=raw.get("variables") or {})
    branch.tasks.update(_parse_tasks(raw["tasks"], (*place, "tasks"), report))
    return branch


def _placeholder(raw: Mapping[str, Any], task_id: str | None) -> BaseOperatorModel | None:
    name = task_id or raw.get("task_id")
    if not isinstance(name, str):
        return None
    names = raw.get("dependencies")
    key = raw.get("result_key")
    return BaseOperatorModel.model_construct(
        task_id=name,
        operator_type="",
        dependencies=[one for one in names if isinstance(one, str)] if isinstance(names, list) else [],
        result_key=key if isinstance(key, str) else None,
    )


def _validated(model: type[DocumentPart], raw: dict[str, Any], place: Place, report: Report) -> DocumentPart | None:
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        for wrong in wrong_fields(error, raw):
            message = f"missing field '{wrong.name}'" if wrong.kind == MISSING else wrong.message
            report.add((*place, *wrong.place), message)
        return None


def _check_keys(part: DocumentPart, place: Place, report: Report) -> None:
    """A key that nothing reads: an error if it looks like a slip, a warning otherwise."""
    fields = type(part).model_fields
    for key in part.model_extra or ():
        hint = did_you_mean(key, [*fields, *type(part).renamed])
        if key in _FOREIGN:
            hint = f"write {_FOREIGN[key]}"
        if hint:
            report.add((*place, key), f"unknown key '{key}'", hint)
        else:
            report.warn((*place, key), f"nothing reads the key '{key}'")
    for name in fields:
        if name in _CONTAINERS or name == "tasks":
            continue
        value = getattr(part, name)
        if isinstance(value, DocumentPart):
            _check_keys(value, (*place, name), report)


def _kind(value: Any) -> str:
    match value:
        case list():
            return "a list"
        case dict():
            return "a mapping"
        case None:
            return "empty"
        case _:
            return f"{value!r}"[:80]
