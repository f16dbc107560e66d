"""Arms and branches: which task stands in which arm of which condition, and where an arm ends.

highway-dsl adds a condition's id to the dependencies of every task in its arms, and chains the next builder call to
the condition as well; the two look alike and mean the opposite. So, for a task that names a condition:

* the first task of an arm (a *head*) runs if that arm is taken;
* a task that can be reached from a head is a *member* of that arm: the edge only says where it belongs;
* any other task comes *after* the condition: it waits for the ends (*sinks*) of all arms; those that were not taken
  end as skipped.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from highway_core.engine.models import (
    BaseOperatorModel,
    ConditionOperatorModel,
    SwitchOperatorModel,
)

Labels = dict[str, frozenset[str]]


def arm_targets(task: BaseOperatorModel) -> dict[str, tuple[str, ...]]:
    """Arm label → the tasks that it names; empty for an operator without arms."""
    match task:
        case ConditionOperatorModel():
            return {"true": _names(task.if_true), "false": _names(task.if_false)}
        case SwitchOperatorModel():
            arms = {case_label(case): _names(target) for case, target in task.cases.items()}
            return arms | {DEFAULT_ARM: _names(task.default)}
        case _:
            return {}


def arm_place(task: BaseOperatorModel, label: str) -> tuple[str, ...]:
    """Where in the task an arm, or a branch, names its tasks."""
    match task:
        case ConditionOperatorModel():
            return (f"if_{label}",)
        case SwitchOperatorModel():
            return (DEFAULT_ARM,) if label == DEFAULT_ARM else ("cases", label.removeprefix(case_label("")))
        case _:
            return ("branches", label)


DEFAULT_ARM = "default"


def case_label(case: str) -> str:
    """The arm of a switch's case; never the label of the default arm."""
    return f"case {case}"


def _names(target: str | list[str] | None) -> tuple[str, ...]:
    if target is None:
        return ()
    return (target,) if isinstance(target, str) else tuple(target)


@dataclass(slots=True)
class Arms:
    """Who stands where, for all conditions and switches of one scope."""

    tasks: Mapping[str, BaseOperatorModel]
    waits_for: Mapping[str, list[str]]
    """Task → its dependencies and join tasks that exist in this scope."""
    containers: Mapping[str, tuple[str, str]]
    """Branch task → (gathering operator, branch)."""
    targets: dict[str, dict[str, tuple[str, ...]]] = field(default_factory=dict)
    """Condition → arm → heads, only those that exist."""
    heads: dict[str, Labels] = field(default_factory=dict)
    """Head → condition → the arms that it begins."""
    members: dict[str, Labels] = field(default_factory=dict)
    """Task → condition → the arms that it stands in, for tasks that name the condition."""
    order: dict[str, int] = field(default_factory=dict)
    """Task → its place in a topological order of the document's own edges."""
    _places: dict[str, int] = field(default_factory=dict)
    _next: dict[str, list[str]] = field(default_factory=dict)
    _inside: dict[str, list[str]] = field(default_factory=dict)
    _sinks: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def find(self) -> None:
        """Fill in ``heads`` and ``members``."""
        self._link()
        self._sort()
        asking: dict[str, list[str]] = {}
        for task_id, names in self.waits_for.items():
            named = [name for name in names if name in self.targets and name not in self.heads.get(task_id, ())]
            if named:
                asking[task_id] = named
        self._find_members(asking)

    def _find_members(self, asking: Mapping[str, list[str]]) -> None:
        """Find the arms that lead to the tasks in ``asking``, for the conditions that they name.

        One pass for all: every arm is a bit, and in topological order each task hands on the bits of those that lead to
        it. A search for each condition took 20 s where 4,000 of them follow each other and one task names them all.
        """
        conditions = dict.fromkeys(name for names in asking.values() for name in names)
        arms = [(condition, label) for condition in conditions for label in self.targets[condition]]
        numbers = {arm: number for number, arm in enumerate(arms)}
        reached: dict[str, int] = {}
        for (condition, label), number in numbers.items():
            for head in self.targets[condition][label]:
                reached[head] = reached.get(head, 0) | 1 << number
        for task_id in self.order:
            bits = reached.pop(task_id, 0)
            for condition in asking.get(task_id, ()):
                labels = [label for label in self.targets[condition] if bits >> numbers[condition, label] & 1]
                if labels:
                    self.members.setdefault(task_id, {})[condition] = frozenset(labels)
            if bits:
                for other in self._after(task_id):
                    reached[other] = reached.get(other, 0) | bits

    def _link(self) -> None:
        for place, task_id in enumerate(self.tasks):
            self._places[task_id] = place
            self._next[task_id] = []
        for task_id, names in self.waits_for.items():
            for name in names:
                self._next[name].append(task_id)
        for condition, arms in self.targets.items():
            for label, heads in arms.items():
                for head in heads:
                    known = self.heads.setdefault(head, {})
                    known[condition] = known.get(condition, frozenset()) | {label}
                    self._next[condition].append(head)
        for task_id, (container, _) in self.containers.items():
            self._inside.setdefault(container, []).append(task_id)

    def _after(self, task_id: str) -> Iterable[str]:
        yield from self._next[task_id]
        yield from self._inside.get(task_id, ())

    def _sort(self) -> None:
        """Kahn's algorithm; tasks in a cycle get no place (the cycle is reported elsewhere)."""
        missing = dict.fromkeys(self.tasks, 0)
        for task_id in self.tasks:
            for other in self._after(task_id):
                missing[other] += 1
        ready = deque(task_id for task_id, count in missing.items() if not count)
        while ready:
            task_id = ready.popleft()
            self.order[task_id] = len(self.order)
            for other in self._after(task_id):
                missing[other] -= 1
                if not missing[other]:
                    ready.append(other)

    def sinks(self, condition: str) -> tuple[str, ...]:
        """The ends of all arms of ``condition``, in document order."""
        if condition not in self._sinks:
            inside: set[str] = set()
            for label in self.targets[condition]:
                inside |= self._arm(condition, label)
            ends = (task_id for task_id in inside if self._ends(task_id, inside))
            self._sinks[condition] = tuple(sorted(ends, key=self._places.__getitem__))
        return self._sinks[condition]

    def _arm(self, condition: str, label: str) -> set[str]:
        """The arm's tasks: its heads, its members, and whatever waits for nothing but these."""
        arm = set(self.targets[condition][label])
        waiting = list(arm)
        while waiting:
            for other in self._next[waiting.pop()]:
                if other in arm or not self._belongs(other, arm, condition, label):
                    continue
                arm.add(other)
                waiting.append(other)
        return arm

    def _belongs(self, task_id: str, arm: set[str], condition: str, label: str) -> bool:
        if condition in self.members.get(task_id, {}):
            return label in self.members[task_id][condition]
        sources = [*self.waits_for[task_id], *self.heads.get(task_id, ())]
        return all(source in arm or source == condition for source in sources)

    def _ends(self, task_id: str, inside: set[str]) -> bool:
        """True if nothing else in the arms comes after it."""
        if self.containers.get(task_id, ("", ""))[0] in inside:
            return False
        return not any(other in inside and task_id not in self.around(other) for other in self._next[task_id])

    def around(self, task_id: str) -> dict[str, str]:
        """The gathering operators around a task, innermost first → the branch of each that it stands in."""
        found: dict[str, str] = {}
        here = self.containers.get(task_id)
        while here is not None and here[0] not in found:
            found[here[0]] = here[1]
            here = self.containers.get(here[0])
        return found
