"""Nodes-and-edges documents (the format of seed 004), turned into the one document shape that the engine reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from highway_core.engine.report import Report


def is_graph_document(data: Mapping[str, Any]) -> bool:
    """True for a document of nodes and edges."""
    return "nodes" in data and "tasks" not in data


def from_graph_document(data: Mapping[str, Any], report: Report) -> dict[str, Any]:
    """The same workflow as a document with ``tasks``. With problems in ``report`` the answer is of no use."""
    # Six modules that no other document needs: a run of a YAML file does not pay for them.
    from highway_core.engine.graph_document_converter import convert  # noqa: PLC0415

    return convert(data, report)
