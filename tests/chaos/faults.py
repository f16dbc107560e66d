"""The schedules of faults: workers die (F02), PostgreSQL dies (F10) or writes nothing (F16), connections are reset
(F20), swallow everything (F21) or lose the answers to commits (F22)."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.acceptance.services import Service
from tests.chaos.cluster import Cluster
from tests.chaos.proxy import COMMITS, Proxy
from tests.chaos.server import OwnPostgres
from tests.waiting import eventually

WORKERS = 4
BLACK_HOLE = 60.0
"""Seconds that one lasts."""


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
    outages: list[tuple[float, float]] = field(default_factory=list)
    """From when to when nothing could work (seconds since 1970)."""
    notes: list[str] = field(default_factory=list)

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

    @contextmanager
    def outage(self) -> Iterator[None]:
        """Nothing is expected of anybody meanwhile."""
        begun = time.time()
        yield
        self.outages.append((begun, time.time()))
        self.count += 1

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


def postgresql_writes_nothing(scene: Scene) -> None:
    """F16: the database is read-only for 5 to 20 s, again and again, as after a fail-over; nobody asks it in a loop."""
    name = scene.cluster.value("SELECT current_database()")
    while scene.passes(3, 10):
        with scene.outage():
            scene.server.read_only(True)
            begun, before = time.monotonic(), scene.server.transactions(name)
            scene.passes(5, 20)
            rate = (scene.server.transactions(name) - before) / (time.monotonic() - begun)
            scene.server.read_only(False)
        scene.notes.append(f"{rate:.0f} transactions a second while nothing could be written")


def packets_are_dropped(scene: Scene) -> None:
    """F21a: every packet between the services and the database is dropped (iptables) for 60 s."""
    assert shutil.which("iptables"), "there is no iptables"
    rules = [["INPUT", "-i", "lo", "-p", "tcp", way, str(scene.proxy.port), "-j", "DROP"] for way in _WAYS]

    def change(how: str) -> None:
        for rule in rules:
            subprocess.run(["iptables", how, *rule], check=True)

    while scene.passes(8, 12):
        with scene.outage():
            change("-I")
            try:
                _black_hole(scene)
            finally:
                change("-D")
        _back_at_work(scene)


def nothing_is_passed_on(scene: Scene) -> None:
    """F21b: everything is accepted and nothing answered for 60 s; what was asked then is never answered."""
    while scene.passes(8, 12):
        with scene.outage():
            scene.proxy.stall()
            _black_hole(scene)
            scene.proxy.watch((), lambda: "")
        _back_at_work(scene)


def the_proxy_stands_still(scene: Scene) -> None:
    """F21c: whoever stands between the services and the database is frozen for 60 s, and goes on where it was."""
    while scene.passes(8, 12):
        with scene.outage():
            scene.proxy.freeze()
            _black_hole(scene)
            scene.proxy.thaw()
        _back_at_work(scene)


_WAYS = ("--dport", "--sport")


def _black_hole(scene: Scene) -> None:
    """Leases must be kept to meanwhile: what is begun in the second half of it was not told to begin."""
    threading.Event().wait(BLACK_HOLE / 2)
    before = scene.cluster.ledger.count()
    threading.Event().wait(BLACK_HOLE / 2)
    scene.notes.append(f"{scene.cluster.ledger.count() - before} effects in the last {BLACK_HOLE / 2:g} s of the hole")


def _back_at_work(scene: Scene) -> None:
    ended, before = time.monotonic(), scene.cluster.ledger.count()
    there = eventually(lambda: scene.cluster.ledger.count() > before, within=150)
    scene.notes.append(f"back at work after {time.monotonic() - ended:.1f} s" if there else "NEVER BACK AT WORK")


SCHEDULES: dict[str, Callable[[Scene], None]] = {
    "F02": workers_die,
    "F10": postgresql_dies,
    "F16": postgresql_writes_nothing,
    "F20": connections_break,
    "F21a": packets_are_dropped,
    "F21b": nothing_is_passed_on,
    "F21c": the_proxy_stands_still,
    "F22": commits_go_unheard,
}
USUAL = ("F02", "F10", "F20", "F22")
"""Those that need nothing of the machine and stand nothing still for long."""
