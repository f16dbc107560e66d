"""The tasks of one scope, gathered: branches flattened into it, copies of loop bodies taken out of it.

highway-dsl writes a loop body twice (inline, and again among the tasks around the loop) and, since 2.0.2, the tasks of
a branch only inside its parallel operator; nested operators multiply both. After this step every task of the scope
stands exactly once in :attr:`ScopeSource.tasks`, and every loop body is a :class:`ScopeSource` of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from highway_core.engine.models import (
    BaseOperatorModel,
    ConditionOperatorModel,
    ForEachOperatorModel,
    JoinOperatorModel,
    MultiChoiceOperatorModel,
    ParallelOperatorModel,
    SwitchOperatorModel,
    WhileOperatorModel,
)
from highway_core.engine.report import Report
from highway_core.engine.templates import CompiledValue

Place = tuple[str | int, ...]

LOOPS = (ForEachOperatorModel, WhileOperatorModel)
GATHERS = (ParallelOperatorModel, MultiChoiceOperatorModel)

_NOT_COMPARED = {"dependencies", "is_internal_loop_task", "is_internal_parallel_task"}


@dataclass(slots=True)
class ScopeSource:
    """One scope of the document: the whole of it, or one loop body."""

    tasks: dict[str, BaseOperatorModel] = field(default_factory=dict)
    branches: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    """Parallel or multi_choice operator → branch name → the ids of its tasks."""
    bodies: dict[str, ScopeSource] = field(default_factory=dict)
    """Loop operator → its body."""
    places: dict[str, Place] = field(default_factory=dict)
    """Task id → where it stands in the document."""
    templates: dict[str, Mapping[str, CompiledValue]] = field(default_factory=dict)
    """Task id → its templated fields, compiled; filled in by ``validation``."""


Entry = tuple[str, BaseOperatorModel, Place]


def gather_scope(tasks: Iterable[Entry], report: Report) -> ScopeSource:
    """Flatten one scope. Problems that only show here (an id taken twice) go to ``report``."""
    scope = ScopeSource()
    waiting = _without_copies(list(tasks))[::-1]
    own = {task_id: task for task_id, task, _ in waiting}
    while waiting:
        task_id, task, place = waiting.pop()
        if task_id in scope.tasks:
            report.add(place, f"the id '{task_id}' is taken twice")
            continue
        scope.tasks[task_id] = task
        scope.places[task_id] = place
        if isinstance(task, GATHERS):
            waiting.extend(_open_branches(scope, task, place, own)[::-1])
    for branches in scope.branches.values():
        _drop_loop_bodies(scope, branches)
    for task_id, task in scope.tasks.items():
        if isinstance(task, LOOPS):
            place = scope.places[task_id]
            body = ((one.task_id, one, (*place, "loop_body", n)) for n, one in enumerate(task.loop_body))
            scope.bodies[task_id] = gather_scope(body, report)
    return scope


def _open_branches(
    scope: ScopeSource,
    task: ParallelOperatorModel | MultiChoiceOperatorModel,
    place: Place,
    own: dict[str, BaseOperatorModel],
) -> list[Entry]:
    """Note who belongs to which branch; return the branch tasks that the scope does not hold yet.

    ``own`` maps the ids that are taken in the scope to their tasks; a branch task that is written out in the scope as
    well is that same task, any other that finds its id taken is renamed.
    """
    found: list[Entry] = []
    members = scope.branches.setdefault(task.task_id, {})
    for label, listed in _listed(task).items():
        members[label] = list(listed)
    for label, branch in task.branch_workflows.items():
        entries = _without_copies(
            [(one, model, (*place, "branch_workflows", label, "tasks", one)) for one, model in branch.tasks.items()]
        )
        written_out = set(members.get(label, ())) - {one for one, _, _ in found}
        new_ids = {}
        for one, model, _ in entries:
            free = one not in own or (one in written_out and same_definition(own[one], model))
            new_ids[one] = one if free else f"{task.task_id}.{label}.{one}"
        renames = {one: new for one, new in new_ids.items() if one != new}
        for one, model, here in entries:
            new = new_ids[one]
            if new not in own:
                own[new] = _rename(model, new, renames)
                found.append((new, own[new], here))
        members[label] = list(new_ids.values())
    return found


def _listed(task: ParallelOperatorModel | MultiChoiceOperatorModel) -> Mapping[str, list[str]]:
    if isinstance(task, ParallelOperatorModel):
        return task.branches
    return {label: branch.tasks for label, branch in task.branches.items()}


def same_definition(one: BaseOperatorModel, other: BaseOperatorModel) -> bool:
    """True if the two differ in nothing but what the DSL changes in a copy."""
    if type(one) is not type(other):
        return False
    return one.model_dump(exclude=_NOT_COMPARED) == other.model_dump(exclude=_NOT_COMPARED)


def _without_copies(entries: list[Entry]) -> list[Entry]:
    """The tasks that are not a copy of one in the body of a loop that stands among them."""
    inside: dict[str, list[BaseOperatorModel]] = {}
    for _, task, _ in entries:
        if isinstance(task, LOOPS):
            _note_bodies(task, inside)
    if not inside:
        return entries
    return [
        entry
        for entry in entries
        if not any(entry[1] is one or same_definition(entry[1], one) for one in inside.get(entry[0], ()))
    ]


def _drop_loop_bodies(scope: ScopeSource, branches: dict[str, list[str]]) -> None:
    """A branch lists the body tasks of its loops as well; they belong to the loop."""
    inside: dict[str, list[BaseOperatorModel]] = {}
    for ids in branches.values():
        for one in ids:
            task = scope.tasks.get(one)
            if isinstance(task, LOOPS):
                _note_bodies(task, inside)
    for label, ids in branches.items():
        branches[label] = [one for one in ids if one in scope.tasks or one not in inside]


def _note_bodies(loop: BaseOperatorModel, inside: dict[str, list[BaseOperatorModel]]) -> None:
    waiting = [loop]
    while waiting:
        task = waiting.pop()
        inner: list[BaseOperatorModel] = []
        if isinstance(task, LOOPS):
            inner.extend(task.loop_body)
        elif isinstance(task, GATHERS):
            inner.extend(one for branch in task.branch_workflows.values() for one in branch.tasks.values())
        for one in inner:
            inside.setdefault(one.task_id, []).append(one)
        waiting.extend(inner)


def _rename(task: BaseOperatorModel, new: str, renames: Mapping[str, str]) -> BaseOperatorModel:
    """The task under its new id, with every reference to a renamed sibling following it."""
    if not renames:
        return task

    def one(name: str | None) -> str | None:
        return renames.get(name, name) if name is not None else None

    def many(names: str | list[str] | None) -> str | list[str] | None:
        if isinstance(names, list):
            return [renames.get(name, name) for name in names]
        return one(names)

    update: dict[str, object] = {
        "task_id": new,
        "dependencies": many(task.dependencies),
        "on_success_task_id": one(task.on_success_task_id),
        "on_failure_task_id": one(task.on_failure_task_id),
    }
    match task:
        case ConditionOperatorModel():
            update |= {"if_true": many(task.if_true), "if_false": many(task.if_false)}
        case SwitchOperatorModel():
            update |= {
                "cases": {case: many(target) for case, target in task.cases.items()},
                "default": many(task.default),
            }
        case JoinOperatorModel():
            update["join_tasks"] = many(task.join_tasks)
        case ParallelOperatorModel() if not task.branch_workflows:
            update["branches"] = {label: many(ids) for label, ids in task.branches.items()}
        case _:
            pass
    return task.model_copy(update=update)
