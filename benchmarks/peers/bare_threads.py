"""What Python itself costs: ``graphlib`` says what is ready, ten threads do it, nothing is stored.

The ordinary loop: submit all that is ready, wait for it, mark it as done.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from graphlib import TopologicalSorter

from shapes import WORKERS, Graph, nothing, report


def noop() -> None:
    pass


def prepare(graph: Graph) -> tuple[Callable[[], None], Callable[[], None]]:
    return lambda: run(graph), nothing


def run(graph: Graph) -> None:
    sorter = TopologicalSorter(graph)  # in the time: it cannot be used twice
    sorter.prepare()
    with ThreadPoolExecutor(WORKERS) as pool:
        while sorter.is_active():
            submitted = [(name, pool.submit(noop)) for name in sorter.get_ready()]
            for name, future in submitted:
                future.result()
                sorter.done(name)


report(prepare)
