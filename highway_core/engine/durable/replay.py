"""From rows to a run: a new image of it, or an older one brought up to date.

Nothing is decided here. What the rows say has happened is put into the instances, and those who have not been decided
about hear it: their arrivals are counted again, in the order in which the tasks ended. Then whoever may run and has no
row is made ready: that is how work that stood in nobody's queue yet is found again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from highway_core.engine.decisions import Iteration, Spawn
from highway_core.engine.durable.timeouts import restore_timeouts
from highway_core.engine.durable.values import LargeValue, StoredValue
from highway_core.engine.graph import Edge, WorkflowGraph
from highway_core.engine.readiness import Verdict, decide_ready
from highway_core.engine.run import Run, count_arrival
from highway_core.engine.run_outcome import branch_outcomes
from highway_core.engine.run_state import Instance, Scope
from highway_core.lifecycle import TASK_OPEN, TaskStatus
from highway_core.persistence.durable_connection import moment_of

_TRIES_ITSELF = frozenset({TaskStatus.QUEUED, TaskStatus.RUNNING})
"""What it may fail of from now on is its own fault."""

Row = dict[str, Any]
Respawn = Callable[[Instance], Spawn]
"""Asks the handler of a loop, with its stored progress, what it had opened."""


class NeedsReloadError(Exception):
    """The image cannot be brought up to date by the rows that changed: a loop began anew, an operator stepped in."""


class Replay:
    """Puts rows into one run."""

    def __init__(self, run: Run, large: Callable[[str], LargeValue], respawn: Respawn) -> None:
        self._run = run
        self._large = large
        self._respawn = respawn
        self._scopes: dict[str, Scope] = {"": run.root}
        run.scopes.index = self._scopes
        self._begun = False
        """True once it holds what some rows said."""

    def instance(self, path: str) -> Instance | None:
        """The instance of that path, if it is part of the run's state and its scope is not over."""
        end = len(path)
        while end >= 0:
            end = path.rfind("].", 0, end)
            prefix = path[: end + 2] if end >= 0 else ""
            scope = self._scopes.get(prefix)
            if scope is not None and not scope.dead:
                index = scope.graph.by_id.get(path[len(prefix) :])
                if index is not None:
                    return scope.instances[index]
        return None

    def scopes(self) -> list[Scope]:
        """Every scope that is not over."""
        return list(self._scopes.values())

    def apply(self, rows: Iterable[Row]) -> None:
        """Take the rows in; NeedsReloadError if that takes more than they say."""
        taken = _Taken()
        ordered = sorted(rows, key=lambda row: len(row["sc"]))
        for row in ordered:
            self._take(row, taken)
        self._link(ordered)
        for one in taken.opened:
            self._hear(one, one.node.opened, taken)
        taken.ended.sort(key=lambda one: one.ended_seq or 0)
        for one in taken.ended:
            self._end(one, taken)
        for loop in taken.loops:
            self._reopen(loop)
        self._close(taken)
        for one in taken.heard:
            if one.status is TaskStatus.PENDING and decide_ready(one.node.rule, one.arrivals) is Verdict.RUN:
                self._run.queue(one)
        self._open_roots(taken.scopes)
        self._begun = True

    def open_roots(self) -> None:
        """Make ready what stands first in a scope and has no row: nobody has come to it yet."""
        self._open_roots(self._scopes.values())

    def _open_roots(self, scopes: Iterable[Scope]) -> None:
        for scope in [one for one in scopes if not one.dead]:
            for index in scope.graph.roots:
                if scope.instances[index].status is TaskStatus.PENDING:
                    self._run.queue(scope.instances[index])

    def decide_all(self) -> None:
        """Look at everybody again who has not been decided about: the run was reopened."""
        self.open_roots()
        for scope in [one for one in self._scopes.values() if not one.dead]:
            self._run.reconsider([one for one in scope.instances if not one.node.is_root])

    def _take(self, row: Row, taken: _Taken) -> None:
        """The fields of one row."""
        if row["nd"] is None:
            raise NeedsReloadError
        scope = self._scope(row["sc"], taken)
        if scope is None:
            return
        instance = scope.instances[row["nd"]]
        status = TaskStatus(row["st"])
        if instance.stored and not instance.is_open:
            raise NeedsReloadError  # the run was reopened, or a loop around it was
        if self._begun and self._began_anew(instance, row, status):
            raise NeedsReloadError
        was_open = instance.opened
        _fill(instance, row, status)
        if not instance.is_open:
            taken.ended.append(instance)
        elif instance.opened and not was_open:
            taken.opened.append(instance)
        elif status is TaskStatus.WAITING_FOR_CHILDREN and instance.node.body is not None:
            taken.loops.append(instance)

    @staticmethod
    def _began_anew(instance: Instance, row: Row, status: TaskStatus) -> bool:
        """True if somebody else has the task begin anew what it opens, or has started child runs that only a whole
        load tells of."""
        if status not in TASK_OPEN:
            return False
        waits = status is TaskStatus.WAITING_FOR_CHILDREN
        if instance.spawn is not None:
            return not waits or row["a"] != instance.attempt
        has_children = waits and instance.node.body is None and not instance.node.branches
        return has_children and (instance.status is not status or row["a"] != instance.attempt)

    def _scope(self, prefix: str, taken: _Taken) -> Scope | None:
        """The scope of that path prefix, made if it is not there; None if what is in it cannot matter any more."""
        known = self._scopes.get(prefix)
        if known is not None and not known.dead:
            return known
        owner_path, _, key = prefix[:-2].rpartition("[")
        owner = self.instance(owner_path)
        if owner is None or owner.node.body is None:
            return None
        shared = owner.node.task.operator_type == "while"
        if not shared and (not owner.is_open or owner.progress is None):
            return None
        index = int(key)
        item = None if shared or owner.progress is None else owner.progress["items"][index]
        if owner.spawn is not None:
            owner.children_left += 1
            owner.spawned = max(owner.spawned, index + 1 - _first(owner.spawn))
        scope = self._run.scopes.iteration(owner, Iteration(index, item, shared))
        taken.scopes.append(scope)
        return scope

    def _link(self, rows: Sequence[Row]) -> None:
        """Who is to blame, and who called: they are instances themselves, and ended before."""
        linked = [row for row in rows if row["pg"] and ('"blame"' in row["pg"] or '"cause"' in row["pg"])]
        by_path = {row["t"]: row for row in rows} if linked else {}
        for row in sorted(linked, key=lambda row: row["es"] or math.inf):
            scope = self._scopes.get(row["sc"])
            if scope is None:
                continue
            instance, left = scope.instances[row["nd"]], json.loads(row["pg"])
            instance.cause = self.instance(left["cause"]) if "cause" in left else None
            if "blame" not in left or instance.status in _TRIES_ITSELF:
                instance.blame = None
            elif instance.blame is None or instance.blame.path != left["blame"]:
                instance.blame = self._blamed(instance.scope, left["blame"], by_path)

    def _blamed(self, scope: Scope, path: str, rows: Mapping[str, Row]) -> Instance | None:
        """Who is to blame, whether it is there, in an iteration that was over before, or in one that was never seen."""
        others = (one.blame for one in scope.instances if one.blame is not None and one.blame.path == path)
        return self.instance(path) or next(others, None) or self._gone(scope, path, rows)

    def _gone(self, scope: Scope, path: str, rows: Mapping[str, Row]) -> Instance | None:
        """All that is asked of whoever stood in an iteration that is over is what its row says."""
        row = rows.get(path)
        graph = None if row is None else self._graph(row["sc"], rows)
        if row is None or graph is None:
            return None
        gone = Instance(scope, graph.nodes[row["nd"]], scope.instances[0].created_at)
        gone.path = path
        _fill(gone, row, TaskStatus(row["st"]))
        return gone

    def _graph(self, prefix: str, rows: Mapping[str, Row]) -> WorkflowGraph | None:
        """The graph of a scope that is over."""
        if not prefix:
            return self._run.root.graph
        owner = rows.get(prefix[:-2].rpartition("[")[0])
        outer = None if owner is None else self._graph(owner["sc"], rows)
        return None if owner is None or outer is None else outer.nodes[owner["nd"]].body

    def _end(self, instance: Instance, taken: _Taken) -> None:
        scope, node = instance.scope, instance.node
        if instance.status is TaskStatus.COMPLETED:
            text = instance.result_text
            value = self._large(instance.path) if text is None else StoredValue(text)
            scope.outputs[node.task_id] = value
            if node.task.result_key is not None:
                scope.results[node.task.result_key] = value
        elif instance.status is TaskStatus.SKIPPED:
            scope.forget(node)
        self._hear(instance, node.opened, taken)  # members that stand as they were before, in a run that was reopened
        self._hear(instance, node.edges, taken)
        if node.container >= 0:
            scope.instances[node.container].children_left -= 1
        scope.open -= 1

    @staticmethod
    def _hear(source: Instance, edges: Iterable[Edge], taken: _Taken) -> None:
        for edge in edges:
            target = source.scope.instances[edge.target]
            if target.status is TaskStatus.PENDING:
                count_arrival(source, edge, target)
                taken.heard[target] = None

    def _reopen(self, loop: Instance) -> None:
        """A loop whose iterations are open: what it had opened, and what it has not opened yet."""
        spawn = loop.spawn = self._respawn(loop)
        iterations = [one for one in spawn.scopes if isinstance(one, Iteration)]
        first = iterations[0].index
        loop.outcomes = [one for one in loop.outcomes if int(one.key) >= first]
        there = {one.index for one in iterations if self._is_open(loop, one.index)}
        loop.children_left = len(there)
        there.update(int(one.key) for one in loop.outcomes)
        loop.spawned = len(spawn.scopes) if spawn.limit is None else len(there)
        if any(one.status is not TaskStatus.COMPLETED for one in loop.outcomes) and spawn.stop_on_failure:
            loop.spawned = len(spawn.scopes)
        if spawn.limit is None:
            for one in iterations:
                if one.index not in there:
                    loop.children_left += 1
                    self._run.open(self._run.scopes.iteration(loop, one))

    def _is_open(self, loop: Instance, index: int) -> bool:
        scope = self._scopes.get(f"{loop.path}[{index}].")
        return scope is not None and not scope.dead and scope.owner is loop

    def _close(self, taken: _Taken) -> None:
        """Iterations and branches of which every task has ended, in the order in which they were over."""
        over: dict[Scope, None] = {}
        for one in taken.ended:
            over.pop(one.scope, None)
            over[one.scope] = None
        loops = dict.fromkeys(taken.loops)
        for scope in over:
            owner = scope.owner
            if owner is None or scope.open or scope.dead:
                continue
            outcome = self._run.scopes.close(owner, scope)
            spawn = owner.spawn
            if spawn is None or not owner.is_open or scope.key < _first(spawn):
                continue
            owner.outcomes.append(outcome)
            owner.children_left -= 1
            if spawn.stop_on_failure and outcome.status is not TaskStatus.COMPLETED:
                owner.spawned = len(spawn.scopes)
            loops[owner] = None
        for loop in loops:
            loop.outcomes.sort(key=lambda one: int(one.key))
            self._run.scopes.open_more(loop)
        for one in taken.ended:
            if one.node.container >= 0:
                container = one.scope.instances[one.node.container]
                if not container.children_left and container.status is TaskStatus.WAITING_FOR_CHILDREN:
                    container.outcomes = branch_outcomes(container)


@dataclass(slots=True)
class _Taken:
    """What the rows of one :meth:`Replay.apply` have brought."""

    ended: list[Instance] = field(default_factory=list)
    opened: list[Instance] = field(default_factory=list)
    loops: list[Instance] = field(default_factory=list)
    heard: dict[Instance, None] = field(default_factory=dict)
    scopes: list[Scope] = field(default_factory=list)
    """Iterations that it did not know of."""


def _fill(instance: Instance, row: Row, status: TaskStatus) -> None:
    instance.status = status
    instance.attempt = row["a"]
    instance.epoch = row["f"]
    instance.created_at = moment_of(row["cr"]) or instance.created_at
    instance.started_at = moment_of(row["sa"])
    instance.completed_at = moment_of(row["ca"])
    instance.wake_at = moment_of(row["wk"])
    instance.error = row["er"]
    instance.result_text = row["rs"]
    instance.ended_seq = row["es"]
    instance.stored = True
    instance.queued = instance.is_open and status is not TaskStatus.PENDING
    left = json.loads(row["pg"]) if row["pg"] else {}
    taken = left.get("taken")
    instance.progress = left.get("progress")
    instance.taken = None if taken is None else frozenset(taken)
    instance.opened = left.get("opened", False)
    instance.key = left.get("key")
    instance.added = left.get("added", [])
    restore_timeouts(instance, left.get("timeouts", {}))
    if "blame" not in left:
        instance.blame = None


def _first(spawn: Spawn) -> int:
    """The index of the first iteration of a spawn."""
    first = spawn.scopes[0]
    return first.index if isinstance(first, Iteration) else 0
