"""A graph document as :class:`GraphNode` objects: the shape of every node and edge checked, nothing wired yet.

Where a node leads is said in two ways that end in the same fields: by edges, and by the node's own settings (the rules
of a ``conditional``, the paths of a ``loop``). An edge that only draws what the settings say already adds nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from highway_core.engine.graph_document_sections import NODE_ID, Section, join_conditions
from highway_core.engine.report import Report
from highway_core.utils.naming import did_you_mean

NODE_TYPES = ("function", "http", "transform", "aggregate", "filter", "conditional", "loop")
TOOL_KEYS = ("function", "function_name", "tool")
"""What a node may call the name of its tool, the usual one first."""
POLICY_KEYS = (
    "description",
    "metadata",
    "result_key",
    "retry_policy",
    "timeout_policy",
    "timeout_seconds",
    "circuit_breaker_policy",
    "idempotency_key",
    "preconditions",
    "postconditions",
    "on_success_task_id",
    "on_failure_task_id",
)
"""Keys of a node that mean what they mean on any operator."""

_NODE_KEYS = (
    *("id", "type", "config", "name", "label", "position", "timeout_ms", "retry"),
    *("loop", "branch", "wait_for_all", "terminal", *POLICY_KEYS),
)
_EDGE_KEYS = ("id", "from", "to", "condition", "label")
_FOREIGN = {"source": "from", "target": "to", "when": "condition", "kind": "type", "data": "config"}
_DEFAULT_LIMIT = 1000
"""Rounds of a loop without ``max_iterations``, as of any ``while``."""
_RULE_KEYS = ("condition", "next_nodes")
_BRANCH_KEYS = ("rules", "default", "condition", "if_true", "if_false")
_LOOP_KEYS = ("loop_back_to", "condition", "max_iterations", "break_path", "timeout_path")
COMMON_KEYS = ("wait_for_all", "branch", "loop")
"""Keys that any config may have."""
ROUTING_KEYS = (*_BRANCH_KEYS, *_LOOP_KEYS, *COMMON_KEYS)
"""Keys that the config of a ``conditional`` or a ``loop`` may have."""


@dataclass(frozen=True, slots=True)
class Rule:
    """If ``condition`` (CEL) holds and none before it did, go on with ``targets``."""

    condition: str
    targets: tuple[str, ...]


@dataclass(slots=True)
class Loop:
    """What a loop node does after each round."""

    back_to: str
    condition: str
    limit: int
    breaks: list[str]
    timeouts: list[str]


@dataclass(slots=True)
class GraphNode:
    """One node. Which of the ways on are filled in depends on its kind, see :meth:`targets`."""

    node_id: str
    kind: str
    section: Section
    config: Section
    plain: list[str] = field(default_factory=list)
    """Edges that are always taken."""
    guarded: dict[str, str] = field(default_factory=dict)
    """Edges that are taken if their condition holds, each on its own."""
    rules: list[Rule] = field(default_factory=list)
    default: list[str] = field(default_factory=list)
    loop: Loop | None = None
    routes: bool = False
    """True if it takes the first of its rules that holds."""
    repeats: bool = False
    """True if it is a loop, however wrong its settings are."""
    wait_for_all: bool = True

    @property
    def has_work(self) -> bool:
        """True if it calls a tool; a pure ``conditional`` or ``loop`` passes on what came in."""
        return self.kind not in {"conditional", "loop"} or any(key in self.config.values for key in TOOL_KEYS)

    def targets(self) -> list[str]:
        """Every node that may follow, each once; a loop's way back is not among them."""
        named = [*self.plain, *self.guarded, *(name for rule in self.rules for name in rule.targets), *self.default]
        if self.loop is not None:
            named += [*self.loop.breaks, *self.loop.timeouts]
        return list(dict.fromkeys(named))

    def always(self) -> list[str]:
        """Those of the targets that follow whatever any condition says."""
        if self.loop is not None:
            return [] if self.loop.timeouts else self.loop.breaks
        return self.plain


def read_graph(data: Mapping[str, Any], report: Report) -> dict[str, GraphNode]:
    """The nodes by id, in document order; whatever is wrong goes to ``report`` and is left out."""
    nodes: dict[str, GraphNode] = {}
    for section in _sections(data, "nodes", report):
        node = _read_node(section, nodes)
        if node is not None:
            nodes[node.node_id] = node
    if not nodes and not report.problems:
        report.add(("nodes",), "the workflow has no nodes")
    for node in nodes.values():
        _read_ways(node, nodes)
    for section in _sections(data, "edges", report):
        _read_edge(section, nodes)
    for node in nodes.values():
        _check_ways(node)
    return nodes


def _sections(data: Mapping[str, Any], key: str, report: Report) -> Iterator[Section]:
    entries = [] if data.get(key) is None else data[key]
    if not isinstance(entries, list):
        report.add((key,), f"'{key}' must be a list")
        return
    for number, entry in enumerate(entries):
        if isinstance(entry, Mapping):
            yield Section({name: value for name, value in entry.items() if value is not None}, (key, number), report)
        else:
            report.add((key, number), f"an entry of '{key}' must be a mapping")


def _read_node(section: Section, nodes: Mapping[str, GraphNode]) -> GraphNode | None:
    section.check_keys(_NODE_KEYS, _FOREIGN)
    node_id, kind = section.text("id"), section.text("type")
    if kind is not None and kind not in NODE_TYPES:
        hint = did_you_mean(kind, NODE_TYPES) or f"one of {', '.join(NODE_TYPES)}"
        if kind == "parallel":
            hint = "several edges out of one node run in parallel; no node is needed for that"
        section.problem("type", f"unknown node type '{kind}'", hint)
    if node_id is None or kind is None:
        return None
    if not NODE_ID.fullmatch(node_id):
        section.problem("id", f"the node id '{node_id}' cannot be used in a reference", "letters, digits, _ and -")
    if node_id in nodes:
        section.problem("id", f"duplicate node id '{node_id}'")
        return None
    node = GraphNode(node_id, kind, section, section.inner("config"))
    node.routes = kind == "conditional" or _settings(node, "branch") is not node.config
    node.repeats = kind == "loop" or _settings(node, "loop") is not node.config
    node.wait_for_all = section.flag("wait_for_all", node.config.flag("wait_for_all", True))
    return node


def _settings(node: GraphNode, key: str) -> Section:
    """Where a branch's or loop's settings stand: under ``key`` in the node or its config, or in the config itself."""
    for section in (node.section, node.config):
        if key in section.values and (found := section.inner(key)).flag("enabled", True):
            return found
    return node.config


def _read_ways(node: GraphNode, nodes: Mapping[str, GraphNode]) -> None:
    if node.routes and node.repeats:
        node.section.problem(None, f"'{node.node_id}' is a branch and a loop at once", "make two nodes of it")
    elif node.routes:
        _read_branch(node, _settings(node, "branch"), nodes)
    elif node.repeats:
        _read_loop(node, _settings(node, "loop"), nodes)


def _read_branch(node: GraphNode, settings: Section, nodes: Mapping[str, GraphNode]) -> None:
    for rule in settings.entries("rules"):
        rule.check_keys(_RULE_KEYS, {"to": "next_nodes", "then": "next_nodes", "if": "condition"})
        condition = rule.condition("condition")
        targets = _known(rule, "next_nodes", nodes)
        if condition is None:
            rule.missing("condition")
        else:
            node.rules.append(Rule(condition, tuple(targets)))
    condition = settings.condition("condition")
    if condition is not None:
        node.rules.append(Rule(condition, tuple(_known(settings, "if_true", nodes))))
    node.default = [*_known(settings, "default", nodes), *_known(settings, "if_false", nodes)]
    if settings is not node.config:
        settings.check_keys((*_BRANCH_KEYS, "enabled", "type"))


def _read_loop(node: GraphNode, settings: Section, nodes: Mapping[str, GraphNode]) -> None:
    back_to = _known(settings, "loop_back_to", nodes)
    if "loop_back_to" not in settings.values:
        settings.problem(None, f"the loop '{node.node_id}' has no 'loop_back_to'", "the node that begins a round")
    limit = settings.values.get("max_iterations", _DEFAULT_LIMIT)
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        settings.problem("max_iterations", f"max_iterations must be a whole number above 0, not {limit!r}")
        limit = _DEFAULT_LIMIT
    node.loop = Loop(
        back_to=back_to[0] if back_to else "",
        condition=settings.condition("condition") or "",
        limit=limit,
        breaks=_known(settings, "break_path", nodes),
        timeouts=_known(settings, "timeout_path", nodes),
    )
    if settings is not node.config:
        settings.check_keys((*_LOOP_KEYS, "enabled"))


def _known(section: Section, key: str, nodes: Iterable[str]) -> list[str]:
    """The nodes that ``key`` names; those that do not exist are reported."""
    found = []
    for name in section.names(key):
        if name in nodes:
            found.append(name)
        else:
            section.problem(key, f"there is no node '{name}'", did_you_mean(name, nodes))
    return found


def _read_edge(section: Section, nodes: Mapping[str, GraphNode]) -> None:
    section.check_keys(_EDGE_KEYS, _FOREIGN)
    source, target = section.text("from"), section.text("to")
    condition = section.condition("condition")
    if source is None or target is None:
        return
    ends = [*_known(section, "from", nodes), *_known(section, "to", nodes)]
    if len(ends) < 2:
        return
    node = nodes[source]
    if node.loop is not None:
        _add_loop_edge(node, node.loop, target, condition, section)
    elif node.routes:
        _add_branch_edge(node, target, condition)
    elif condition is not None:
        node.guarded[target] = join_conditions(node.guarded.get(target), condition)
    elif target not in node.plain:
        node.plain.append(target)


def _add_loop_edge(node: GraphNode, loop: Loop, target: str, condition: str | None, edge: Section) -> None:
    if target == loop.back_to:
        if condition and loop.condition and condition != loop.condition:
            edge.problem("condition", f"the loop '{node.node_id}' has another condition of its own", "keep one of them")
        loop.condition = loop.condition or condition or ""
    elif target in loop.timeouts or target in loop.breaks:
        return
    elif condition is not None:
        node.guarded[target] = join_conditions(node.guarded.get(target), condition)
    else:
        loop.breaks.append(target)


def _add_branch_edge(node: GraphNode, target: str, condition: str | None) -> None:
    if condition is None:
        named = {name for rule in node.rules for name in rule.targets}
        if target not in node.default and target not in named:
            node.default.append(target)
        return
    for number, rule in enumerate(node.rules):
        if rule.condition == condition:
            targets = dict.fromkeys([*rule.targets, target])
            node.rules[number] = Rule(condition, tuple(targets))
            return
    node.rules.append(Rule(condition, (target,)))


def _check_ways(node: GraphNode) -> None:
    """What can be said only once all edges are known."""
    section = node.section
    if node.routes and not node.rules and not node.repeats:
        hint = "give it rules: [{condition, next_nodes}], or edges with a condition"
        section.problem(None, f"the conditional '{node.node_id}' has no condition", hint)
    if node.loop is not None and not node.loop.condition:
        section.problem(None, f"the loop '{node.node_id}' has no condition", "the loop goes on as long as it holds")
    if section.flag("terminal", False) and node.targets():
        section.problem("terminal", f"'{node.node_id}' is terminal, but '{node.targets()[0]}' follows it")
    taken = node.loop.breaks if node.loop is not None else node.plain
    for target in [target for target in node.guarded if target in taken]:
        section.warn(f"the condition from '{node.node_id}' to '{target}' changes nothing: another edge is always taken")
        del node.guarded[target]
