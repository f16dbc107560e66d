"""Finding a cycle in a graph, and naming it whole."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

V = TypeVar("V", bound=Hashable)


def find_cycle(successors: Mapping[V, Sequence[V]]) -> list[V] | None:
    """The vertices of one cycle, in order, or None. Every vertex is a key of ``successors``."""
    left = dict.fromkeys(successors, 0)
    for targets in successors.values():
        for target in targets:
            left[target] += 1
    ready = [vertex for vertex, count in left.items() if not count]
    while ready:
        vertex = ready.pop()
        del left[vertex]
        for target in successors[vertex]:
            left[target] -= 1
            if not left[target]:
                ready.append(target)
    return _walk(successors, left) if left else None


def _walk(successors: Mapping[V, Sequence[V]], among: Mapping[V, int]) -> list[V]:
    """Walk backwards among vertices that all have a predecessor there, until one comes again."""
    before: dict[V, V] = {}
    for vertex in among:
        for target in successors[vertex]:
            if target in among:
                before.setdefault(target, vertex)
    here = next(iter(among))
    path: list[V] = []
    seen: dict[V, int] = {}
    while here not in seen:
        seen[here] = len(path)
        path.append(here)
        here = before[here]
    return path[seen[here] :][::-1]
