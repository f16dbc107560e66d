"""The schedules of faults: F02 workers die, F10 PostgreSQL dies, F20 connections are reset, F22 commits go unheard."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.acceptance.services import Service
from tests.chaos.cluster import Cluster
from tests.chaos.proxy import COMMITS, Proxy
from tests.chaos.server import OwnPostgres

WORKERS = 4


@dataclass
class Scene:
    """Where the faults happen."""

    cluster: Cluster
    server: OwnPostgres
    proxy: Proxy
    rng: random.Random
    over: threading.Event
    workers: list[Service] = field(default_factory=list)
    kills: dict[int, float] = field(default_factory=dict)
    """When a worker was killed (seconds since 1970), by its process."""
    count: int = 0
    """How many faults there were."""

    def start(self) -> None:
        """The services of the scene."""
        services = self.cluster.services
        services.api()
        for _ in range(2):
            services.scheduler()
        self.workers = [services.worker() for _ in range(WORKERS)]
        self.cluster.workers_up(WORKERS)
        services.answers("/readyz", within=60)

    def passes(self, least: float, most: float) -> bool:
        """False if it is over before that time has passed."""
        return not self.over.wait(self.rng.uniform(least, most))

    def keep_up(self) -> None:
        """Start again what died of a fault."""
        for number, worker in enumerate(self.workers):
            if worker.process.poll() is not None:
                self.workers[number] = self.cluster.services.worker()


def workers_die(scene: Scene) -> None:
    """F02: kill -9 of a random worker of four every 1 to 3 s; another takes its place at once."""
    while scene.passes(1, 3):
        victim = scene.rng.choice(scene.workers)
        if victim.process.poll() is None:
            victim.send(signal.SIGKILL)
            scene.kills[victim.pid] = time.time()
            victim.ends()
            scene.count += 1
        scene.keep_up()


def postgresql_dies(scene: Scene) -> None:
    """F10: kill -9 of the postmaster every 5 to 40 s; it is started again after 0 to 2 s."""
    while scene.passes(5, 40):
        scene.server.kill()
        scene.count += 1
        time.sleep(scene.rng.uniform(0, 2))
        scene.server.start()


def connections_break(scene: Scene) -> None:
    """F20: RST of all connections every 0.2 to 2 s."""
    while scene.passes(0.2, 2):
        scene.count += scene.proxy.reset_all()


def commits_go_unheard(scene: Scene) -> None:
    """F22: one of twelve commits, claims, starts and wake-ups is carried out and its answer lost."""
    chance = random.Random(scene.rng.random())
    scene.proxy.hits = 0
    patterns = (*COMMITS, b"highway_claim(", b"highway_submit(", b"highway_wake(", b"highway_rescue(")
    scene.proxy.watch(patterns, lambda: "cut" if chance.random() < 1 / 12 else "")
    scene.over.wait()
    scene.proxy.watch((), lambda: "")
    scene.count = scene.proxy.hits


SCHEDULES: dict[str, Callable[[Scene], None]] = {
    "F02": workers_die,
    "F10": postgresql_dies,
    "F20": connections_break,
    "F22": commits_go_unheard,
}
