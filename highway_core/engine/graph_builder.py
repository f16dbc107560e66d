"""From the tasks of a scope to its :class:`~.graph.WorkflowGraph`: names resolved, edges drawn, cycles refused.

Every problem is added to one list, so that a wrong document is told everything at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from highway_core.engine.arms import Arms, arm_place, arm_targets
from highway_core.engine.cycles import find_cycle
from highway_core.engine.flatten import ScopeSource
from highway_core.engine.graph import MAX_NESTING, BranchSpan, Edge, Names, Node, WorkflowGraph
from highway_core.engine.models import JoinMode, JoinOperatorModel, TriggerRule
from highway_core.engine.readiness import Answer, CallbackRule, Rule, Via
from highway_core.engine.report import Report
from highway_core.utils.naming import did_you_mean

_FORGIVING = frozenset({TriggerRule.ALL_DONE, TriggerRule.NONE_FAILED, TriggerRule.ONE_DONE, JoinMode.ALL_OF})
"""Rules that may go on after predecessors which were skipped or failed: also after those of a branch never opened."""
_FIRST_OF = frozenset({"one_success", "one_done", "any_of"})
_MOST_GUESSES = 100


@dataclass(frozen=True, slots=True)
class _Draft:
    """An edge before its source is a node. ``opened`` edges fire when the source opens, not when it ends."""

    source: str
    target: str
    via: Via
    labels: frozenset[str] | None = None
    on: Answer | None = None
    opened: bool = False


@dataclass(slots=True)
class ScopeCompiler:
    """Compiles one scope; bodies get a compiler of their own."""

    source: ScopeSource
    report: Report
    outer: Names = field(default_factory=Names)
    """Ids of the scopes around this one."""
    outer_names: Names = field(default_factory=Names)
    """Task ids and result keys that may be referred to from here."""
    depth: int = 0
    lifted: list[str] = field(default_factory=list)
    """Dependencies on tasks around the loop; they become the loop's own."""
    _names: Names = field(default_factory=Names)
    _bodies: dict[str, WorkflowGraph] = field(default_factory=dict)
    _waits: dict[str, list[str]] = field(default_factory=dict)
    _containers: dict[str, tuple[str, str]] = field(default_factory=dict)
    _callbacks: dict[str, list[tuple[str, Answer]]] = field(default_factory=dict)
    _drafts: list[_Draft] = field(default_factory=list)
    _joined: dict[str, frozenset[str]] = field(default_factory=dict)

    def compile(self) -> WorkflowGraph | None:
        """The graph, or None if this scope has a problem that leaves none."""
        before = len(self.report.problems)
        self._compile_bodies()
        self._find_containers()
        if self._branches_nest_too_deep():
            return None
        self._find_callbacks()
        arms = Arms(self.source.tasks, self._waits, self._containers, targets=self._find_targets())
        arms.find()
        self._draw(arms)
        self._refuse_cycles()
        return self._graph() if len(self.report.problems) == before else None

    def _compile_bodies(self) -> None:
        ids = Names(frozenset(self.source.tasks), self.outer)
        self._names = Names(names_of(self.source), self.outer_names)
        extra: dict[str, list[str]] = {}
        for loop_id, body in self.source.bodies.items():
            inner = ScopeCompiler(body, self.report, ids, self._names, self.depth + 1)
            graph = inner.compile()
            if graph is not None:
                self._bodies[loop_id] = graph
            extra[loop_id] = [name for name in inner.lifted if name != loop_id]
        for task_id, task in self.source.tasks.items():
            wanted = [*task.dependencies, *extra.get(task_id, ())]
            joined = task.join_tasks if isinstance(task, JoinOperatorModel) else []
            self._joined[task_id] = frozenset(joined)
            self._waits[task_id] = list(
                dict.fromkeys(
                    [name for name in joined if self._known(name, task_id, "join_tasks")]
                    + [name for name in wanted if self._known(name, task_id, "dependencies")]
                )
            )

    def _known(self, name: str, task_id: str, key: str) -> bool:
        """True if ``name`` is a task of this scope; one from around the loop is lifted, any other is a problem."""
        if name == task_id:
            self._report(task_id, key, f"'{task_id}' waits for itself")
            return False
        if name in self.source.tasks:
            return True
        if name in self.outer and key == "dependencies":
            self.lifted.append(name)
            return False
        self._report_missing(name, task_id, key)
        return False

    def _find_targets(self) -> dict[str, dict[str, tuple[str, ...]]]:
        found = {}
        for task_id, task in self.source.tasks.items():
            arms = arm_targets(task)
            if arms or task.operator_type in {"condition", "switch"}:
                found[task_id] = {
                    label: tuple(name for name in names if self._is_target(name, task_id, label))
                    for label, names in arms.items()
                }
        return found

    def _is_target(self, name: str, task_id: str, label: str) -> bool:
        key = arm_place(self.source.tasks[task_id], label)
        if name == task_id:
            self._report(task_id, key, f"the arm '{label}' of '{task_id}' leads back to itself")
            return False
        if name in self.source.tasks:
            return True
        self._report_missing(name, task_id, key)
        return False

    def _find_containers(self) -> None:
        holders: dict[str, list[tuple[str, str]]] = {}
        for operator, branches in self.source.branches.items():
            for label, ids in branches.items():
                for name in ids:
                    if self._is_target(name, operator, label):
                        holders.setdefault(name, []).append((operator, label))
        members = {name: {holder for holder, _ in found} for name, found in holders.items()}
        for name, found in holders.items():
            innermost = max(found, key=lambda one: len(members.get(one[0], ())))
            around = members.get(innermost[0], ())
            if all(one is innermost or one[0] in around for one in found):
                self._containers[name] = innermost
            else:
                where = " and ".join(f"{operator}.{label}" for operator, label in found)
                self._report(name, "", f"'{name}' stands in more than one branch: {where}")

    def _branches_nest_too_deep(self) -> bool:
        """Branches that list their tasks by id (the shape of highway-dsl 1.x) nest without the document's nesting."""
        inside: dict[str, list[str]] = {}
        for name, (operator, _) in self._containers.items():
            if name in self.source.branches:
                inside.setdefault(operator, []).append(name)
        level = [operator for operator in self.source.branches if operator not in self._containers]
        for _ in range(MAX_NESTING - self.depth):
            level = [inner for operator in level for inner in inside.get(operator, ())]
        for operator in level[:1]:
            self._report(operator, "", f"operators nest deeper than {MAX_NESTING}, the limit")
        return bool(level)

    def _find_callbacks(self) -> None:
        for task_id, task in self.source.tasks.items():
            for key, name, on in (
                ("on_success_task_id", task.on_success_task_id, Answer.SUCCEEDED),
                ("on_failure_task_id", task.on_failure_task_id, Answer.FAILED),
            ):
                if name is None:
                    continue
                if name == task_id:
                    self._report(task_id, key, f"'{task_id}' names itself as its callback")
                elif name not in self.source.tasks:
                    self._report_missing(name, task_id, key)
                elif isinstance(self.source.tasks[name], JoinOperatorModel):
                    self._report(task_id, key, f"'{name}' is a join and cannot be a callback")
                else:
                    self._callbacks.setdefault(name, []).append((task_id, on))

    def _rule(self, task_id: str) -> Rule:
        if task_id in self._callbacks:
            return CallbackRule.CALLBACK
        task = self.source.tasks[task_id]
        return task.join_mode if isinstance(task, JoinOperatorModel) else task.trigger_rule

    def _draw(self, arms: Arms) -> None:
        for task_id in self.source.tasks:
            around = arms.around(task_id)
            for condition, labels in arms.heads.get(task_id, {}).items():
                self._drafts.append(_Draft(condition, task_id, Via.HEAD, labels))
            for source, on in self._callbacks.get(task_id, ()):
                self._drafts.append(_Draft(source, task_id, Via.MAIN, on=on))
            self._draw_waits(task_id, arms, around)
            if around:
                self._draw_gate(task_id, arms)

    def _draw_waits(self, task_id: str, arms: Arms, around: Mapping[str, str]) -> None:
        rule = self._rule(task_id)
        drawn: dict[str, Via] = {}
        for name in self._waits[task_id]:
            if name in around or name in arms.heads.get(task_id, ()):
                continue
            if name in arms.members.get(task_id, ()):
                self._drafts.append(_Draft(name, task_id, Via.MEMBER, arms.members[task_id][name]))
                continue
            via = self._via(task_id, name, rule)
            for source in self._expanded(name, arms, rule):
                if drawn.setdefault(source, via) is not Via.MAIN:
                    drawn[source] = via
        drawn.pop(task_id, None)
        self._drafts.extend(_Draft(source, task_id, via) for source, via in drawn.items())

    def _via(self, task_id: str, name: str, rule: Rule) -> Via:
        if rule is CallbackRule.CALLBACK:
            return Via.ORDER
        if arms_join := self._joined[task_id]:
            return Via.MAIN if name in arms_join else Via.ORDER
        return Via.MAIN

    def _expanded(self, name: str, arms: Arms, rule: Rule) -> tuple[str, ...]:
        """To wait for a condition is to wait for the ends of its arms; its own success is no "first" success."""
        if name not in arms.targets:
            return (name,)
        sinks = arms.sinks(name)
        return sinks if sinks and rule in _FIRST_OF else (name, *sinks)

    def _draw_gate(self, task_id: str, arms: Arms) -> None:
        """Tie a branch task to its operator's start, unless its predecessors in the branch carry the dead path."""
        operator, label = self._containers[task_id]
        sources = [*self._waits[task_id], *arms.heads.get(task_id, ())]
        sources += [source for source, _ in self._callbacks.get(task_id, ())]
        inside = [name for name in sources if arms.around(name).get(operator) == label]
        outside = [name for name in sources if name not in inside and name not in arms.around(task_id)]
        if not inside or outside or self._rule(task_id) in _FORGIVING:
            self._drafts.append(_Draft(operator, task_id, Via.MEMBER, frozenset({label}), opened=True))

    def _refuse_cycles(self) -> None:
        """A gathering operator has two moments: it opens (before its branches) and ends (after them)."""
        gathers = self.source.branches.keys()
        successors: dict[tuple[str, bool], list[tuple[str, bool]]] = {(name, False): [] for name in self.source.tasks}
        for name in gathers:
            successors[name, True] = [(name, False)]

        def begin(name: str) -> tuple[str, bool]:
            return (name, name in gathers)

        for draft in self._drafts:
            successors[draft.source, draft.opened].append(begin(draft.target))
        for name, (operator, _) in self._containers.items():
            successors[name, False].append((operator, False))
        cycle = find_cycle(successors)
        if cycle is not None:
            names = list(dict.fromkeys(name for name, _ in cycle))
            names = names[names.index(min(names)) :] + names[: names.index(min(names))]
            self._report(names[0], "dependencies", f"cycle: {' → '.join([*names, names[0]])}")

    def _graph(self) -> WorkflowGraph:
        by_id = {task_id: index for index, task_id in enumerate(self.source.tasks)}
        ended: list[list[Edge]] = [[] for _ in by_id]
        opened: list[list[Edge]] = [[] for _ in by_id]
        counts = [dict.fromkeys(Via, 0) for _ in by_id]
        absorbers: list[set[int]] = [set() for _ in by_id]
        for draft in self._drafts:
            edge = Edge(by_id[draft.target], draft.via, draft.labels, draft.on)
            (opened if draft.opened else ended)[by_id[draft.source]].append(edge)
            counts[edge.target][edge.via] += 1
            if self._absorbs(draft):
                absorbers[by_id[draft.source]].add(edge.target)
        spans = self._spans(by_id)
        nodes = []
        for task_id, task in self.source.tasks.items():
            index = by_id[task_id]
            container = self._containers.get(task_id)
            nodes.append(
                Node(
                    index=index,
                    task_id=task_id,
                    task=task,
                    rule=self._rule(task_id),
                    main=counts[index][Via.MAIN],
                    order=counts[index][Via.ORDER],
                    heads=counts[index][Via.HEAD],
                    members=counts[index][Via.MEMBER],
                    edges=tuple(ended[index]),
                    opened=tuple(opened[index]),
                    container=by_id[container[0]] if container else -1,
                    branches=spans.get(task_id, {}),
                    children=sum(len(span.members) for span in spans.get(task_id, {}).values()),
                    terminal=container is None and not absorbers[index],
                    absorbers=frozenset(absorbers[index]),
                    written=self.source.written.get(task_id, task_id),
                    aliases=self.source.aliases.get(task_id, {}),
                    templates=self.source.templates.get(task_id, {}),
                    body=self._bodies.get(task_id),
                )
            )
        return WorkflowGraph(tuple(nodes), by_id, self._names)

    def _absorbs(self, draft: _Draft) -> bool:
        """True if the target takes its source's outcome further; a callback, whatever it waits for, does not."""
        return draft.via is not Via.MEMBER and draft.target not in self._callbacks

    def _spans(self, by_id: Mapping[str, int]) -> dict[str, dict[str, BranchSpan]]:
        members: dict[str, dict[str, list[str]]] = {
            operator: {label: [] for label in branches} for operator, branches in self.source.branches.items()
        }
        for name, (operator, label) in self._containers.items():
            members[operator][label].append(name)
        return {
            operator: {label: BranchSpan(tuple(by_id[name] for name in names)) for label, names in branches.items()}
            for operator, branches in members.items()
        }

    def _report(self, task_id: str, key: str | tuple[str, ...], message: str, hint: str = "") -> None:
        inside = key if isinstance(key, tuple) else (key,) if key else ()
        self.report.add((*self.source.places[task_id], *inside), message, hint)

    def _report_missing(self, name: str, task_id: str, key: str | tuple[str, ...]) -> None:
        for loop_id, body in self.source.bodies.items():
            if name in body.tasks:
                hint = f"'{name}' is inside the loop '{loop_id}'; name '{loop_id}' instead"
                break
        else:
            hint = nearest_name(name, self.source.tasks, self.report)
        self._report(task_id, key, f"'{task_id}' names '{name}', which does not exist", hint)


def names_of(source: ScopeSource) -> frozenset[str]:
    """The task ids and result keys of a scope; a ``while`` shares those of its body."""
    keys = {task.result_key for task in source.tasks.values() if task.result_key}
    shared = {
        name
        for loop_id, body in source.bodies.items()
        if source.tasks[loop_id].operator_type == "while"
        for name in names_of(body)
    }
    return frozenset(source.tasks) | keys | shared


def nearest_name(name: str, names: Iterable[str], report: Report) -> str:
    """A hint for the problem that is reported next; the first ones get it, since a guess takes milliseconds."""
    return did_you_mean(name, sorted(names)) if len(report.problems) < _MOST_GUESSES else ""
