"""How scopes, branches and runs ended: which failures stand, and whose fault they are."""

from __future__ import annotations

from typing import Any

from highway_core.engine.context import ChildOutcome
from highway_core.engine.graph import BranchSpan
from highway_core.engine.run_state import Instance, Scope
from highway_core.lifecycle import TASK_FAILED, TaskStatus

_TOOK_IT_OVER = frozenset({TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.UPSTREAM_FAILED})
"""How a successor ends that a failure before it is no concern of the run any more: it went on, or failed itself."""


def branch_outcomes(container: Instance) -> list[ChildOutcome]:
    """How the branches of a gathering operator ended, whose members are all final."""
    return [_branch_outcome(container, label, span) for label, span in container.node.branches.items()]


def _branch_outcome(container: Instance, label: str, span: BranchSpan) -> ChildOutcome:
    scope = container.scope
    if container.taken is not None and label not in container.taken:
        return ChildOutcome(label, TaskStatus.SKIPPED, {})
    failed = _standing([scope.instances[index] for index in span.members], frozenset(span.members))
    results = scope.keyed_results(span.members)
    if not failed:
        return ChildOutcome(label, TaskStatus.COMPLETED, results)
    container.blame = container.blame or culprit(failed[0])
    return ChildOutcome(label, TaskStatus.FAILED, results, blamed(failed[0]))


def members_of(instance: Instance) -> list[Instance]:
    """The members of a gathering operator's branches, at any depth."""
    found: list[Instance] = []
    waiting = [instance]
    while waiting:
        for span in waiting.pop().node.branches.values():
            inside = [instance.scope.instances[index] for index in span.members]
            found.extend(inside)
            waiting.extend(inside)
    return found


def standing_failures(scope: Scope) -> list[Instance]:
    """The failures that nothing in the scope absorbed. What fails in a branch is its operator's business."""
    return _standing([one for one in scope.instances if one.node.container < 0], None)


def _standing(instances: list[Instance], among: frozenset[int] | None) -> list[Instance]:
    """Those that failed and whose failure no successor (of ``among``) took over."""
    return [
        one
        for one in instances
        if one.status in TASK_FAILED
        and not any(
            one.scope.instances[index].status in _TOOK_IT_OVER
            for index in one.node.absorbers
            if among is None or index in among
        )
    ]


def culprit(instance: Instance) -> Instance:
    """The task whose own failure is behind that of ``instance``."""
    while instance.blame is not None:
        instance = instance.blame
    return instance


def blamed(failed: Instance) -> str:
    """A sentence on the failure behind that of ``failed``."""
    one = culprit(failed)
    return f"Task '{one.node.task_id}' failed: {one.error}"


def result_of(scope: Scope) -> Any:
    """A run's result: the value of the last task that ran; a mapping by task id where there are more."""
    last = [
        instance.node.task_id
        for instance in scope.instances
        if instance.node.terminal and instance.status is TaskStatus.COMPLETED
    ]
    values = {task_id: scope.outputs.get(task_id) for task_id in last}
    return values[last[0]] if len(last) == 1 else values or None
