"""The compiled workflow: immutable nodes and edges, the same object for both modes.

A scope is one graph: the document's tasks are the root graph, and every loop body is a graph of its own
(:attr:`Node.body`). Branches of ``parallel`` and ``multi_choice`` are ordinary nodes of the graph they stand in; the
operator *gathers* them: it opens (``Node.opened`` edges), waits for its members (``Node.container``), and ends.

Edges carry the answer of a node to those that wait for it; what an answer counts as is :class:`~.readiness.Via`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from highway_core.engine.models import BaseOperatorModel, WorkflowModel
from highway_core.engine.readiness import Answer, Arrivals, Rule, Via
from highway_core.engine.templates import CompiledValue

MAX_NESTING = 100
"""How deep loops and branches may stand inside each other."""


@dataclass(frozen=True, slots=True)
class Edge:
    """One node that hears how another ended."""

    target: int
    via: Via
    labels: frozenset[str] | None = None
    """For HEAD and MEMBER: the arms of the source in which the target stands. None: any outcome opens it."""
    on: Answer | None = None
    """For a callback: the outcome of the source that calls it."""


@dataclass(frozen=True, slots=True)
class BranchSpan:
    """One branch of a gathering operator."""

    members: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Node:
    """One task of a scope."""

    index: int
    task_id: str
    task: BaseOperatorModel
    rule: Rule
    main: int
    order: int
    heads: int
    members: int
    edges: tuple[Edge, ...]
    """Fired when the node has ended."""
    opened: tuple[Edge, ...]
    """Fired when a gathering operator opens; with its end if it never opens."""
    container: int
    """The gathering operator that it is a member of, or -1."""
    branches: Mapping[str, BranchSpan]
    children: int
    """How many members it gathers."""
    terminal: bool
    """No successors: its result is (part of) the run's."""
    absorbers: frozenset[int]
    """Who takes a failure of it further by going on all the same: its successors, callbacks excepted."""
    written: str = ""
    """Its id in the document; another one only where two branches took the same."""
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Of a branch task: names that its document uses for siblings whose ids were taken twice → their ids."""
    templates: Mapping[str, CompiledValue] = field(default_factory=dict)
    body: WorkflowGraph | None = None

    def arrivals(self) -> Arrivals:
        """Fresh counts for one instance."""
        return Arrivals(self.main, self.order, self.heads, self.members)

    @property
    def is_root(self) -> bool:
        """Nothing to wait for."""
        return not (self.main or self.order or self.heads or self.members)


@dataclass(frozen=True, slots=True)
class Names:
    """The names of a scope and of the scopes around it.

    In layers, because thousands of loops beside each other would each hold a copy of the thousands of names around it.
    """

    own: frozenset[str] = frozenset()
    outer: Names | None = None

    def __contains__(self, name: object) -> bool:
        here: Names | None = self
        while here is not None:
            if name in here.own:
                return True
            here = here.outer
        return False

    def __iter__(self) -> Iterator[str]:
        here: Names | None = self
        while here is not None:
            yield from here.own
            here = here.outer


@dataclass(frozen=True, slots=True)
class WorkflowGraph:
    """One scope."""

    nodes: tuple[Node, ...]
    by_id: Mapping[str, int]
    names: Names
    """Every task id and result key that can be referred to: what may be null when it has no value."""

    @property
    def roots(self) -> tuple[int, ...]:
        return tuple(node.index for node in self.nodes if node.is_root)

    @property
    def terminals(self) -> tuple[int, ...]:
        return tuple(node.index for node in self.nodes if node.terminal)

    def node(self, task_id: str) -> Node:
        """The node of that id; KeyError if there is none."""
        return self.nodes[self.by_id[task_id]]

    def size(self) -> int:
        """Nodes of this graph and of all bodies inside it."""
        return sum(1 + (node.body.size() if node.body else 0) for node in self.nodes)


@dataclass(frozen=True, slots=True)
class CompiledWorkflow:
    """A document that may start."""

    model: WorkflowModel
    graph: WorkflowGraph
    definition_json: str
    """The document as canonical JSON."""
    definition_hash: str
    """SHA-256 of ``definition_json``: what a run is pinned to."""
    source: str = ""
    """The file it came from, or a word for it."""
