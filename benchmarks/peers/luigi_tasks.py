"""Luigi with its local scheduler and one worker (with more it starts a process a task). Nothing is stored."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version

import luigi
from shapes import Graph, nothing, report

graph: Graph = {}
done: set[str] = set()


class Noop(luigi.Task):
    name = luigi.Parameter()

    def requires(self) -> list[Noop]:
        return [Noop(name=before) for before in graph[self.name]]

    def complete(self) -> bool:
        return self.name in done

    def run(self) -> None:
        done.add(self.name)


def prepare(wanted: Graph) -> tuple[Callable[[], None], Callable[[], None]]:
    graph.clear()
    graph.update(wanted)
    done.clear()
    return run, nothing


def run() -> None:
    *_, last = graph
    assert luigi.build([Noop(name=last)], local_scheduler=True, workers=1, log_level="ERROR")
    assert len(done) == len(graph)


report(prepare, version("luigi"))
