"""``python -m tests.chaos --seed 7 --minutes 10 [--schedule F02 …]``: real services, real faults, then the invariants.

Prints its seed, what it did and saw, and every invariant that does not hold; exits with 1 if one does not, and with 2
if the experiment proves nothing, because too little was acknowledged or no fault happened.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import threading
import time
from itertools import pairwise
from pathlib import Path

from tests.chaos.cluster import LEASE, Cluster
from tests.chaos.faults import SCHEDULES, Scene
from tests.chaos.invariants import broken
from tests.chaos.ledger import Effect
from tests.chaos.proxy import Proxy
from tests.chaos.server import OwnPostgres
from tests.chaos.workload import Clients
from tests.waiting import eventually

COOL_DOWN = 90.0
"""Seconds after the faults: a lease, a sweep of the Scheduler, the longest task, and half a minute."""
WINDOW = 10.0


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--minutes", type=float, default=2.0, help="of each schedule")
    parser.add_argument("--schedule", nargs="*", choices=[*SCHEDULES], default=[*SCHEDULES])
    parser.add_argument("--most-open", type=int, default=60, help="runs that may be open before no more are started")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    codes = []
    for name in options.schedule:
        server = OwnPostgres()
        try:
            codes.append(_carry_out(name, options, server))
        finally:
            server.close()
    return max(codes)


def _carry_out(name: str, options: argparse.Namespace, server: OwnPostgres) -> int:
    url = server.database()
    folder = Path(tempfile.mkdtemp(prefix="highway-chaos-"))
    proxy = Proxy(url)
    cluster = Cluster(folder, url, proxy.url)
    over = threading.Event()
    scene = Scene(cluster, server, proxy, random.Random(f"{options.seed}{name}"), over)
    try:
        scene.start()
        print(f"\n{SCHEDULES[name].__doc__}", flush=True)
        clients = Clients(cluster, options.seed, options.most_open)
        begun = time.time()
        timer = threading.Timer(options.minutes * 60, over.set)
        timer.start()
        SCHEDULES[name](scene)  # on this thread: only the main one can start services
        timer.join()
        faults_until = time.time()
        clients.calm()
        scene.keep_up()
        quiet = eventually(lambda: cluster.open_runs() == 0, within=COOL_DOWN)
        eventually(lambda: cluster.value("SELECT count(*) FROM task_queue") == 0, within=5)
        clients.close()
        found = broken(cluster, acknowledged=clients.acknowledged.values(), told=clients.told)
        code = _report(scene, clients, (begun, faults_until), quiet)
        for invariant, rows in found.items():
            print(f"  BROKEN {invariant}: {rows}")
        if found:
            kept = folder.with_name(f"{folder.name}.log")
            kept.write_text(cluster.services.logs(), encoding="utf-8")
            print(f"  what the services said: {kept}\n{cluster.unfinished()}")
        else:
            print("  all invariants hold")
        return 1 if found else code
    finally:
        over.set()
        cluster.close()
        proxy.close()
        shutil.rmtree(folder, ignore_errors=True)


def _report(scene: Scene, clients: Clients, during: tuple[float, float], quiet: bool) -> int:
    """Print what happened; 2 if it proves nothing."""
    cluster = scene.cluster
    effects = cluster.ledger.effects()
    statuses = dict(cluster.rows("SELECT status, count(*) FROM workflows GROUP BY 1 ORDER BY 1"))
    counters = dict(cluster.rows("SELECT name, value FROM counters ORDER BY 1"))
    asked = sum(count for call, count in clients.calls.items() if call.startswith("start ") and call != "start lost")
    acknowledged = clients.calls["start 202"] / max(1, asked)
    again = len(effects) - len({(one.run, one.task) for one in effects})
    least = _slowest_window(effects, *during)
    seconds = during[1] - during[0]
    print(f"  {scene.count} faults in {seconds:.0f} s; {len(clients.acknowledged)} runs acknowledged: {statuses}")
    print(f"  {len(effects)} effects, {again} of them repetitions; at least {least} in each {WINDOW:g} s")
    print(f"  counters: {counters}\n  calls: {dict(sorted(clients.calls.items()))}")
    if not quiet:
        print(f"  NOT QUIET after {COOL_DOWN:g} s")
    waits = sorted(_recoveries(effects, scene.kills))
    if waits:
        middle, p99 = (waits[min(len(waits) - 1, int(len(waits) * part))] for part in (0.5, 0.99))
        print(
            f"  from a kill to the next start: p50 {middle:.2f} s, p99 {p99:.2f} s, n {len(waits)}, lease {LEASE:g} s"
        )
    if scene.count == 0 or acknowledged < 0.9:
        print(f"  INVALID: {scene.count} faults, {acknowledged:.0%} acknowledged")
        return 2
    return 0


def _recoveries(effects: list[Effect], kills: dict[int, float]) -> list[float]:
    """Seconds from the death of a worker to the next start of what it was at."""
    by_task: dict[tuple[str, str], list[Effect]] = {}
    for one in effects:
        by_task.setdefault((one.run, one.task), []).append(one)
    return [
        after.at - kills[before.pid]
        for tries in by_task.values()
        for before, after in pairwise(tries)
        if before.pid in kills and before.at <= kills[before.pid] < after.at
    ]


def _slowest_window(effects: list[Effect], begin: float, end: float) -> int:
    """The fewest effects in a window of the time of the faults."""
    windows = [0] * max(1, int((end - begin) / WINDOW))
    for one in effects:
        number = int((one.at - begin) / WINDOW)
        if 0 <= number < len(windows):
            windows[number] += 1
    return min(windows)


if __name__ == "__main__":
    sys.exit(main())
