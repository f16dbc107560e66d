"""The least that a graph can cost: ``graphlib`` and a call, in one thread."""

from __future__ import annotations

from collections.abc import Callable
from graphlib import TopologicalSorter

from shapes import Graph, nothing, report


def noop() -> None:
    pass


def prepare(graph: Graph) -> tuple[Callable[[], None], Callable[[], None]]:
    return lambda: run(graph), nothing


def run(graph: Graph) -> None:
    sorter = TopologicalSorter(graph)  # in the time: it cannot be used twice
    sorter.prepare()
    while sorter.is_active():
        for name in sorter.get_ready():
            noop()
            sorter.done(name)


report(prepare)
