"""Prefect 3 with its own SQLite file and the server that it starts for a while; ``local.py`` sets its environment."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version

from prefect import flow, task
from prefect.task_runners import ThreadPoolTaskRunner
from shapes import WORKERS, Graph, nothing, report


@task
def noop() -> None:
    pass


@flow(task_runner=ThreadPoolTaskRunner(max_workers=WORKERS))
def run(graph: Graph) -> None:
    if not any(len(before) > 1 for before in graph.values()):
        for _ in graph:  # a chain is written as plain calls, which costs Prefect less than submitting
            noop()
        return
    futures = {}
    for name, before in graph.items():
        futures[name] = noop.submit(wait_for=[futures[one] for one in before])
    for future in futures.values():
        future.result()


def prepare(graph: Graph) -> tuple[Callable[[], None], Callable[[], None]]:
    return lambda: run(graph), nothing


report(prepare, version("prefect"))
