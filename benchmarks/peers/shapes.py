"""The two graphs that everyone runs, and how a run of one is timed; standard library only."""

from __future__ import annotations

import gc
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


def nothing() -> None:
    """What there is to close after most runs."""


def report(prepare: Callable[[Graph], tuple[Callable[[], None], Callable[[], None]]], version: str = "") -> None:
    """Time one run of the graph that the command line names (``chain 1000``) and print it as one JSON object.

    ``prepare`` returns what runs the graph and what closes it afterwards; all three are timed apart. A small run comes
    first, so that imports, servers that start and caches that fill are not counted as the overhead of a task. What it
    left is frozen: the garbage collector would look at all of it once, in whichever run that happens to fall.
    """
    shape, tasks = sys.argv[1], int(sys.argv[2])
    run, close = prepare(graph_of(shape, _WARM_UP))
    run()
    close()
    graph = graph_of(shape, tasks)
    gc.collect()
    gc.freeze()
    moments = [time.perf_counter()]
    run, close = prepare(graph)
    moments.append(time.perf_counter())
    run()
    moments.append(time.perf_counter())
    close()
    moments.append(time.perf_counter())
    seconds = {
        name: end - begin for name, begin, end in zip(("prepare", "run", "close"), moments, moments[1:], strict=False)
    }
    print(json.dumps({"tasks": len(graph), "version": version, **seconds}))
