"""Scopes of a run: iterations of loops and child runs, opened as many at a time as their task allows."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from highway_core.engine.context import ChildOutcome
from highway_core.engine.data import LoopFrame
from highway_core.engine.decisions import ChildRun, Iteration, Spawn
from highway_core.engine.run_outcome import blamed, culprit, standing_failures
from highway_core.engine.run_state import Instance, Scope
from highway_core.lifecycle import TaskStatus


class _Run(Protocol):
    """The run whose scopes these are."""

    @property
    def first_epoch(self) -> int: ...

    def open(self, scope: Scope) -> None: ...

    def wait_for_children(self, instance: Instance) -> None: ...

    def ask_again(self, instance: Instance) -> None: ...

    def start_child(self, instance: Instance, child: ChildRun) -> None: ...

    def now(self) -> datetime: ...


class SubWorkflowRunner:
    """Opens what a task spawns, and asks the task again when all of it is over."""

    def __init__(self, run: _Run) -> None:
        self._run = run
        self.index: dict[str, Scope] | None = None
        """If it is a dict: every iteration that is not over, by its path prefix."""
        self.open_iterations = 0
        self.tasks = 0
        """In the open iterations."""

    def spawn(self, instance: Instance, decision: Spawn) -> None:
        """Take up a decision. ``while`` decides anew after each iteration and gets to see the last one only."""
        first = decision.scopes[0]
        if instance.status is not TaskStatus.WAITING_FOR_CHILDREN or (isinstance(first, Iteration) and first.shared):
            instance.outcomes = []
        instance.progress = decision.progress
        instance.spawn = decision
        instance.spawned = 0
        instance.children_left = 0
        self._run.wait_for_children(instance)
        self.open_more(instance)

    def open_more(self, instance: Instance) -> None:
        """Open as many of what the task has spawned as may be open at once."""
        spawn = instance.spawn
        assert spawn is not None  # noqa: S101 - only spawning instances come here
        limit = len(spawn.scopes) if spawn.limit is None else spawn.limit
        while instance.spawned < len(spawn.scopes) and instance.children_left < limit:
            child = spawn.scopes[instance.spawned]
            instance.spawned += 1
            instance.children_left += 1
            if isinstance(child, ChildRun):
                self._run.start_child(instance, child)
                continue
            self._run.open(self.iteration(instance, child))

    def iteration(self, instance: Instance, child: Iteration) -> Scope:
        """A new scope below ``instance``, not yet opened."""
        frame = LoopFrame(instance.node.written, child.item, child.index)
        if child.shared:
            frame = LoopFrame(instance.node.written, index=child.index)
        scope = Scope.iteration(instance, frame, child.shared, self._run.now())
        instance.scope.inner.add(scope)
        self.open_iterations += 1
        self.tasks += len(scope.instances)
        if self.index is not None:
            self.index[scope.prefix] = scope
            for one in scope.instances:
                one.epoch = self._run.first_epoch
        return scope

    def scope_over(self, scope: Scope) -> None:
        """Every task of an iteration has ended."""
        owner = scope.owner
        assert owner is not None  # noqa: S101 - the root scope ends the run
        self.child_over(owner, self.close(owner, scope))

    def drop(self, scope: Scope) -> None:
        """Nothing in the scope, or in scopes inside it, is anybody's business any more."""
        waiting = [scope]
        while waiting:
            one = waiting.pop()
            if not one.dead:
                self.open_iterations -= 1
                self.tasks -= len(one.instances)
            one.dead = True
            if self.index is not None:
                self.index.pop(one.prefix, None)
            waiting.extend(one.inner)

    def close(self, owner: Instance, scope: Scope) -> ChildOutcome:
        """How an iteration ended, every task of which has."""
        owner.scope.inner.discard(scope)
        self.drop(scope)
        failed = standing_failures(scope)
        if not failed:
            return ChildOutcome(scope.key, TaskStatus.COMPLETED, scope.keyed_results())
        owner.blame = owner.blame or culprit(failed[0])
        return ChildOutcome(scope.key, TaskStatus.FAILED, scope.keyed_results(), blamed(failed[0]))

    def child_over(self, instance: Instance, outcome: ChildOutcome) -> None:
        """A scope or a child run of ``instance`` is over."""
        spawn = instance.spawn
        if instance.status is not TaskStatus.WAITING_FOR_CHILDREN or spawn is None:
            return
        instance.outcomes.append(outcome)
        instance.children_left -= 1
        if spawn.stop_on_failure and outcome.status is not TaskStatus.COMPLETED:
            instance.spawned = len(spawn.scopes)
        else:
            self.open_more(instance)
        if not instance.children_left and instance.spawned == len(spawn.scopes):
            if isinstance(spawn.scopes[0], Iteration):
                instance.outcomes.sort(key=lambda one: int(one.key))
            self._run.ask_again(instance)
