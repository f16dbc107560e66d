"""The two graphs that everyone runs, and how a run of one is timed; standard library only."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable

Graph = dict[str, list[str]]
"""Task → the tasks before it, in an order in which they could be done."""

WORKERS = 10
_WARM_UP = 30


def graph_of(shape: str, tasks: int) -> Graph:
    """``chain``: so many tasks, one after the other. ``fan-out``: so many between a first and a last one."""
    if shape == "chain":
        return {f"t{number}": [f"t{number - 1}"] if number else [] for number in range(tasks)}
    middle = {f"t{number}": ["first"] for number in range(tasks)}
    return {"first": [], **middle, "last": list(middle)}


def report(prepare: Callable[[Graph], Callable[[], None]], version: str = "") -> None:
    """Time one run of the graph that the command line names (``chain 1000``) and print it as one JSON object.

    ``prepare`` makes ready for a run whatever can be made ready once; it is timed apart. A small run comes first, so
    that imports, servers that start and caches that fill are not counted as the overhead of a task.
    """
    shape, tasks = sys.argv[1], int(sys.argv[2])
    prepare(graph_of(shape, _WARM_UP))()
    graph = graph_of(shape, tasks)
    begin = time.perf_counter()
    run = prepare(graph)
    prepared = time.perf_counter()
    run()
    ended = time.perf_counter()
    print(json.dumps({"tasks": len(graph), "prepare": prepared - begin, "run": ended - prepared, "version": version}))
