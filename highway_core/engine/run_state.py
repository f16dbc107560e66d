"""A run in memory: the task instances, the scopes they stand in, and the values they share."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any

from highway_core.engine.context import ChildOutcome
from highway_core.engine.data import LoopFrame
from highway_core.engine.decisions import Spawn
from highway_core.engine.graph import Node, WorkflowGraph
from highway_core.errors import ResultError
from highway_core.lifecycle import TASK_OPEN, TaskStatus
from highway_core.utils.json_values import to_storable
from highway_core.utils.stopping import StopScope

_NO_TIMEOUTS: Mapping[str, tuple[int, float]] = MappingProxyType({})


class TrackedMemory(dict[str, Any]):
    """The run's memory. It notes which keys changed since the last commit, and can undo one tool's changes."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        self.changed: set[str] = set()
        self._undo: list[tuple[str, bool, Any]] = []

    def __setitem__(self, key: str, value: Any) -> None:
        self._undo.append((key, key in self, self.get(key)))
        self.changed.add(key)
        super().__setitem__(key, value)

    def restore(self, values: Mapping[str, Any]) -> None:
        """Take over stored values; they are no change."""
        super().update(values)

    def begin(self) -> None:
        """Forget how to undo what came before."""
        self._undo.clear()

    def check(self, max_bytes: int) -> None:
        """Make what was set since :meth:`begin` plain JSON; ResultError says which key cannot be stored."""
        for key in dict.fromkeys(key for key, _, _ in self._undo):
            if not isinstance(key, str):
                raise ResultError(f"A memory key must be text, not {key!r}.")
            to_storable(key, max_bytes=max_bytes, name="memory key")
            super().__setitem__(key, to_storable(self[key], max_bytes=max_bytes, name=f"memory.{key}")[0])

    def undo(self) -> None:
        """Take back every change since :meth:`begin`."""
        for key, existed, value in reversed(self._undo):
            if existed:
                super().__setitem__(key, value)
            else:
                super().pop(key, None)
                self.changed.discard(key)
        self._undo.clear()


@dataclass(frozen=True, slots=True)
class ScopeValues:
    """What the tools of a scope receive as their ``state``."""

    variables: MutableMapping[str, Any]
    results: MutableMapping[str, Any]
    memory: TrackedMemory


class Instance:
    """One task of one scope. Only the deciding thread touches it."""

    __slots__ = (
        "added",
        "arrivals",
        "attempt",
        "blame",
        "cause",
        "children_left",
        "completed_at",
        "created_at",
        "dirty",
        "ended_seq",
        "epoch",
        "error",
        "flush_needed",
        "key",
        "led_by",
        "node",
        "opened",
        "outcomes",
        "path",
        "progress",
        "queued",
        "result_text",
        "scope",
        "spawn",
        "spawned",
        "started_at",
        "status",
        "stop",
        "stored",
        "taken",
        "timeouts",
        "wake_at",
    )

    def __init__(self, scope: Scope, node: Node, created_at: datetime) -> None:
        self.scope = scope
        self.node = node
        self.path = f"{scope.prefix}{node.task_id}"
        self.status = TaskStatus.PENDING
        self.arrivals = node.arrivals()
        self.attempt = 0
        self.epoch = 0
        """Grows with every attempt and whenever one is given up: an answer from an older epoch is not heard."""
        self.created_at = created_at
        self.started_at: datetime | None = None
        self.completed_at: datetime | None = None
        self.wake_at: datetime | None = None
        self.error: str | None = None
        self.result_text: str | None = None
        self.progress: Mapping[str, Any] | None = None
        self.taken: frozenset[str] | None = None
        self.opened = False
        self.children_left = node.children
        self.spawn: Spawn | None = None
        self.spawned = 0
        """How many of the scopes of ``spawn`` have been opened."""
        self.outcomes: list[ChildOutcome] = []
        self.added: list[Any] = []
        self.cause: Instance | None = None
        """Of a callback: the task that called it."""
        self.blame: Instance | None = None
        """Of a task that failed through another: that one."""
        self.stop: StopScope | None = None
        self.dirty = False
        self.flush_needed = 0
        """The commit that must be behind us before this task may start: the one that holds its predecessors."""
        self.led_by: Instance | None = None
        """The predecessor whose end decided about this task."""
        self.stored = False
        """DURABLE: it has a row."""
        self.queued = False
        """DURABLE: it has had rows in the queue, which its end removes."""
        self.ended_seq: int | None = None
        """DURABLE: the place of its end in the run's event log."""
        self.key: str | None = None
        """DURABLE: the idempotency key that it holds."""
        self.timeouts: Mapping[str, tuple[int, float]] = _NO_TIMEOUTS
        """DURABLE: by kind, the epoch under which a timeout was asked for, and its moment (``durable.timeouts``)."""

    @property
    def is_open(self) -> bool:
        return self.status in TASK_OPEN

    def reset(self) -> None:
        """Forget what the last attempt left, before the next one."""
        self.progress = None
        self.spawn = None
        self.outcomes = []
        self.added = []
        self.blame = None


class Scope:
    """The root of a run, or one iteration of a loop."""

    __slots__ = (
        "dead",
        "graph",
        "inner",
        "instances",
        "key",
        "loops",
        "open",
        "outputs",
        "owner",
        "prefix",
        "results",
        "values",
    )

    def __init__(
        self,
        graph: WorkflowGraph,
        created_at: datetime,
        values: ScopeValues,
        owner: Instance | None = None,
        key: int = 0,
    ) -> None:
        self.graph = graph
        self.owner = owner
        self.key = key
        self.prefix: str = "" if owner is None else f"{owner.path}[{key}]."
        self.values = values
        self.results: MutableMapping[str, Any] = values.results
        self.outputs: MutableMapping[str, Any] = {}
        self.loops: Sequence[LoopFrame] = ()
        self.dead = False
        """True once it is over or given up: what ends in it afterwards is nobody's business."""
        self.inner: set[Scope] = set()
        """Scopes that were opened by tasks of this one and are not over."""
        self.open = len(graph.nodes)
        self.instances = [Instance(self, node, created_at) for node in graph.nodes]

    @classmethod
    def iteration(cls, owner: Instance, frame: LoopFrame, shared: bool, created_at: datetime) -> Scope:
        """The scope of one iteration of ``owner``; a shared one writes its results into the scope around it."""
        outer = owner.scope
        assert owner.node.body is not None  # noqa: S101 - loops have bodies
        values = outer.values
        if not shared:
            values = ScopeValues(values.variables, _child_map(outer.results), values.memory)
        scope = cls(owner.node.body, created_at, values, owner, frame.index)
        scope.outputs = outer.outputs if shared else _child_map(outer.outputs)
        scope.loops = (*outer.loops, frame)
        return scope

    def forget(self, node: Node) -> bool:
        """A task is skipped: what it left in an earlier iteration of a ``while`` is its result no longer.

        True if a result key lost its value by that.
        """
        own = _own(self.outputs)
        if node.task_id not in own:
            return False
        value = _peek(own, node.task_id)
        del own[node.task_id]
        key = node.task.result_key
        results = _own(self.results)
        if key is None or _peek(results, key) is not value:  # another arm may have set the same key since
            return False
        del results[key]
        return True

    def forget_iterations(self, loop: Node) -> None:
        """A ``while`` begins anew: what its iterations left in this scope is nobody's result any more."""
        bodies = [loop.body]
        while bodies:
            body = bodies.pop()
            for node in () if body is None else body.nodes:
                if self.forget(node):
                    self._give_back(node.task.result_key)
                if node.task.operator_type == "while":
                    bodies.append(node.body)

    def _give_back(self, key: str | None) -> None:
        """Let a result key stand for the task outside of the loop that had set it before."""
        others = [
            one for one in self.instances if one.node.task.result_key == key and one.status is TaskStatus.COMPLETED
        ]
        if key is not None and others:
            last = max(others, key=lambda one: one.completed_at or one.created_at)
            self.results[key] = _peek(_own(self.outputs), last.node.task_id)

    def all_open(self) -> Iterator[Instance]:
        """Every open instance of this scope and of the scopes inside it."""
        for instance in self.instances:
            if instance.is_open:
                yield instance
        for scope in self.inner:
            yield from scope.all_open()

    def keyed_results(self, indexes: Sequence[int] | None = None) -> dict[str, Any]:
        """``result_key`` → value, of this scope's own completed tasks (those at ``indexes``)."""
        chosen = self.instances if indexes is None else [self.instances[index] for index in indexes]
        return {
            instance.node.task.result_key: self.outputs[instance.node.task_id]
            for instance in chosen
            if instance.node.task.result_key is not None and instance.status is TaskStatus.COMPLETED
        }


def _own(values: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """What a scope has by itself."""
    return values.maps[0] if isinstance(values, ChainMap) else values


def _peek(own: MutableMapping[str, Any], name: str) -> Any:
    """The value, or what stands for it if it would have to be read (``durable.values``)."""
    peek: Callable[[str], Any] = getattr(own, "peek", own.get)
    return peek(name)


def _child_map(outer: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A mapping that reads through to ``outer`` and writes to itself."""
    maps = outer.maps if isinstance(outer, ChainMap) else [outer]
    return ChainMap(type(maps[0])(), *maps)
