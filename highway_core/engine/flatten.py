"""The tasks of one scope, gathered: branches flattened into it, copies of loop bodies taken out of it.

highway-dsl writes a loop body twice (inline, and again among the tasks around the loop) and, since 2.0.2, the tasks of
a branch only inside its parallel operator; nested operators multiply both. After this step every task of the scope
stands exactly once in :attr:`ScopeSource.tasks`, and every loop body is a :class:`ScopeSource` of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

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
    aliases: dict[str, Mapping[str, str]] = field(default_factory=dict)
    """Task of a branch, or of a loop in one → what its document calls tasks that were renamed → their ids."""
    written: dict[str, str] = field(default_factory=dict)
    """Renamed task → its id in the document."""


_NO_ALIASES: Mapping[str, str] = MappingProxyType({})

Entry = tuple[str, BaseOperatorModel, Place]


def gather_scope(tasks: Iterable[Entry], report: Report, aliases: Mapping[str, str] = _NO_ALIASES) -> ScopeSource:
    """Flatten one scope. Problems that only show here (an id taken twice) go to ``report``.

    ``aliases`` are names of renamed tasks around this scope.
    """
    scope = ScopeSource()
    waiting = _without_copies(list(tasks))[::-1]
    own = {task_id: task for task_id, task, _ in waiting}
    if aliases:
        aliases = {name: new for name, new in aliases.items() if name not in own}
        waiting = [(task_id, _retarget(task, aliases), place) for task_id, task, place in waiting]
        scope.aliases.update(dict.fromkeys(own, aliases))
    claims = _claims(waiting)
    while waiting:
        task_id, task, place = waiting.pop()
        if task_id in scope.tasks:
            report.add(place, f"the id '{task_id}' is taken twice")
            continue
        scope.tasks[task_id] = task
        scope.places[task_id] = place
        if isinstance(task, GATHERS):
            waiting.extend(_Opening(scope, own, claims).branches_of(task, place)[::-1])
    for branches in scope.branches.values():
        _drop_loop_bodies(scope, branches)
    for task_id, task in scope.tasks.items():
        if isinstance(task, LOOPS):
            place = scope.places[task_id]
            body = ((one.task_id, one, (*place, "loop_body", n)) for n, one in enumerate(task.loop_body))
            known = scope.aliases.get(task_id, _NO_ALIASES)
            scope.bodies[task_id] = gather_scope(body, report, known)
    return scope


def _claims(entries: Iterable[Entry]) -> Counter[str]:
    """How many tasks of the scope, those in branches included, call themselves by each id."""
    claims: Counter[str] = Counter()
    waiting = [(task_id, task) for task_id, task, _ in entries]
    while waiting:
        task_id, task = waiting.pop()
        claims[task_id] += 1
        if isinstance(task, GATHERS):
            for branch in task.branch_workflows.values():
                inner = _without_copies([(one, model, ()) for one, model in branch.tasks.items()])
                waiting.extend((one, model) for one, model, _ in inner)
    return claims


@dataclass(slots=True)
class _Opening:
    """Takes branch tasks into the scope.

    A branch task that is written out in the scope as well is that same task. Any other whose id is claimed twice is
    called ``<operator>.<branch>.<id>``, and its own branch goes on calling it by its id.
    """

    scope: ScopeSource
    own: dict[str, BaseOperatorModel]
    claims: Counter[str]

    def branches_of(self, task: ParallelOperatorModel | MultiChoiceOperatorModel, place: Place) -> list[Entry]:
        """Note who belongs to which branch; the branch tasks that the scope does not hold yet."""
        found: list[Entry] = []
        members = self.scope.branches.setdefault(task.task_id, {})
        for label, listed in _listed(task).items():
            members[label] = list(listed)
        for label, branch in task.branch_workflows.items():
            here = (*place, "branch_workflows", label, "tasks")
            entries = _without_copies([(one, model, (*here, one)) for one, model in branch.tasks.items()])
            new_ids = {one: self._id(task.task_id, label, one, model) for one, model, _ in entries}
            outer = self.scope.aliases.get(task.task_id, _NO_ALIASES)
            renames = {name: new for name, new in outer.items() if name not in new_ids}
            renames |= {one: new for one, new in new_ids.items() if one != new}
            for one, model, where in entries:
                new = new_ids[one]
                if renames:
                    self.scope.aliases[new] = renames
                if new != one:
                    self.scope.written[new] = one
                if new not in self.own:
                    self.own[new] = _rename(model, new, renames)
                    found.append((new, self.own[new], where))
            members[label] = list(new_ids.values())
        return found

    def _id(self, operator: str, label: str, task_id: str, model: BaseOperatorModel) -> str:
        written_out = task_id in self.own and task_id in self.scope.branches[operator].get(label, ())
        if self.claims[task_id] == 1 or (written_out and same_definition(self.own[task_id], model)):
            return task_id
        return f"{operator}.{label}.{task_id}"


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


def _retarget(task: BaseOperatorModel, renames: Mapping[str, str]) -> BaseOperatorModel:
    """The task of a loop body, waiting for tasks around the loop under their new ids."""
    if not any(name in renames for name in task.dependencies):
        return task
    return task.model_copy(update={"dependencies": [renames.get(name, name) for name in task.dependencies]})


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
