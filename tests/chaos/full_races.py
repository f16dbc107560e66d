"""The races of ``tests/acceptance/test_races.py`` at the size that they are promised for."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.chaos.cluster import Cluster
from tests.chaos.races import (
    cancel_against_completion,
    decisions,
    decisions_at_the_last_moment,
    increments,
    same_keys,
)
from tests.chaos.server import OwnPostgres

RACES: dict[str, tuple[int, Callable[[Cluster, int, int], Any]]] = {
    "500 approvals, approved and denied at the same moment": (2, lambda cluster, _, __: decisions(cluster, 500, 10)),
    "500 approvals, decided when their time is over": (
        2,
        lambda cluster, seed, _: decisions_at_the_last_moment(cluster, 500, seed),
    ),
    "50 callers, 200 keys": (2, lambda cluster, _, __: same_keys(cluster, 50, 200)),
    "cancel against completion, 1,000 times": (
        2,
        lambda cluster, seed, _: cancel_against_completion(cluster, 1_000, seed),
    ),
    "1,000 increments, four workers, one of which dies": (
        4,
        lambda cluster, _, victim: increments(cluster, 1_000, victim),
    ),
}
"""Name → workers, and what is done with the seed and the process of one of them."""


def run(seed: int) -> int:
    """All of them, each on a database of its own; an AssertionError says which of them failed."""
    server = OwnPostgres()
    try:
        for name, (amount, race) in RACES.items():
            folder = Path(tempfile.mkdtemp(prefix="highway-races-"))
            cluster = Cluster(folder, server.database())
            try:
                workers = [cluster.services.worker() for _ in range(amount)]
                cluster.services.scheduler()
                cluster.services.api()
                cluster.workers_up(amount)
                cluster.services.answers("/readyz", within=60)
                begun = time.monotonic()
                seen = race(cluster, seed, workers[0].pid)
                print(f"{name}: {seen or 'done'}, {time.monotonic() - begun:.1f} s, all invariants hold", flush=True)
            finally:
                cluster.close()
                shutil.rmtree(folder, ignore_errors=True)
    finally:
        server.close()
    return 0
