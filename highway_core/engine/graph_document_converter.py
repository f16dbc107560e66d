"""How a nodes-and-edges document becomes one with tasks.

What becomes of what:

* A node that calls a tool is a task of its own id; plain edges are dependencies, so several edges out of one node run
  in parallel and several into one wait for all (``wait_for_all: false``: for the first success).
* A ``conditional`` is a ``condition`` operator of its own id, and one more (``<id>.rule2``, …) for each further rule.
  A node that calls a tool and has edges with conditions gets one operator for each (``<from>.if.<to>``).
* A node behind a condition is the head of an arm. If other nodes lead to it as well, a relay (``<from>.to.<to>``, a
  condition that always holds) stands between: taken or skipped, it counts as one predecessor among the others.
* A ``loop`` is a ``while`` that looks at its condition after each round. One that calls a tool keeps its id for that
  call, the last of each round, and the ``while`` is ``<id>.loop``. ``break_path`` comes after it.
* With a ``timeout_path`` the ``while`` also ends at its limit, without failing: a task ``<id>-rounds`` counts inside,
  and ``<id>.ended`` asks the loop's condition once more and goes on with one path or the other. So a run that took the
  timeout path ends as that path does. Without such a path the limit fails the loop, as for any ``while``.
* ``output`` is what came in: the result of the node before, or a mapping by node id if there are several (null for
  a skipped one); where control goes through a pure ``conditional`` or ``loop``, what came into that. The node that
  begins a loop's round sees, from the second round on, the loop's last output. ``<id>-input`` tasks carry such values
  where no template can.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from highway_core.engine.graph_document_loops import find_shape
from highway_core.engine.graph_document_reader import read_graph
from highway_core.engine.graph_document_tasks import work_of
from highway_core.engine.graph_document_wiring import Wiring
from highway_core.engine.models import WorkflowModel
from highway_core.engine.report import Report
from highway_core.utils.naming import did_you_mean

_DEFAULT_NAME = "graph"
_FROM_METADATA = ("name", "version", "description", "tags")
_OWN_KEYS = frozenset({"nodes", "edges", "metadata", "id"})


def convert(data: Mapping[str, Any], report: Report) -> dict[str, Any]:
    """See :func:`~highway_core.engine.graph_documents.from_graph_document`."""
    document = _frame(data, report)
    nodes = read_graph(data, report)
    shape = find_shape(nodes) if nodes else None
    works = {node_id: work_of(node) for node_id, node in nodes.items()}
    if shape is not None and not report.problems:
        variables = document.get("variables")
        names = frozenset(variables if isinstance(variables, Mapping) else ())  # anything else is refused later
        document["tasks"] = Wiring(nodes, shape, works, names).tasks()
    return document


def _frame(data: Mapping[str, Any], report: Report) -> dict[str, Any]:
    """Everything but the tasks; ``metadata`` may hold what other shapes have at the top."""
    metadata = data.get("metadata") or {}
    if not isinstance(metadata, Mapping):
        report.add(("metadata",), "'metadata' must be a mapping")
        metadata = {}
    fields = [key for key in WorkflowModel.model_fields if key not in {"tasks", "start_task"}]
    frame: dict[str, Any] = {}
    for key, value in data.items():
        if key in fields:
            frame[key] = value
        elif key not in _OWN_KEYS:
            hint = did_you_mean(key, [*fields, *_OWN_KEYS])
            if hint:
                report.add((key,), f"unknown key '{key}'", hint)
            else:
                report.warn((key,), f"nothing reads the key '{key}'")
    for key in _FROM_METADATA:
        if frame.get(key) is None and metadata.get(key) is not None:
            frame[key] = metadata[key]
    if frame.get("name") is None:
        frame["name"] = data["id"] if isinstance(data.get("id"), str) else _DEFAULT_NAME
    return frame
