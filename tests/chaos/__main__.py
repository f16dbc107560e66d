"""``python -m tests.chaos --seed 7 --minutes 10 [--schedule F02 …]``: real services, real faults, then the invariants.
``python -m tests.chaos races``: the races of ``tests/acceptance/test_races.py`` at full size.

Prints its seed, what it did and saw, and every invariant that does not hold; exits with 1 if one does not, or if
nothing went on for ten seconds that were no outage, and with 2 if the experiment proves nothing, because too little was
acknowledged or no fault happened.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from itertools import pairwise
from pathlib import Path

from tests.chaos import full_races
from tests.chaos.cluster import LEASE, Cluster
from tests.chaos.faults import SCHEDULES, USUAL, Scene
from tests.chaos.invariants import CHECKS, broken
from tests.chaos.ledger import Effect
from tests.chaos.proxy import Proxy
from tests.chaos.server import OwnPostgres
from tests.chaos.workload import CHILD, Clients
from tests.waiting import eventually

COOL_DOWN = 90.0
"""Seconds after the faults: a lease, a sweep of the Scheduler, the longest task, and half a minute."""
WINDOW = 10.0


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("what", nargs="?", choices=["faults", "races"], default="faults")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--minutes", type=float, default=2.0, help="of each schedule")
    parser.add_argument("--schedule", nargs="*", choices=[*SCHEDULES], default=[*USUAL])
    parser.add_argument("--most-open", type=int, default=60, help="runs that may be open before no more are started")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))  # ends the services
    print(f"seed {options.seed}", flush=True)
    if options.what == "races":
        return full_races.run(options.seed)
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
    workflows = folder / "workflows"
    workflows.mkdir()
    (workflows / "child.json").write_text(json.dumps(CHILD), encoding="utf-8")
    cluster = Cluster(folder, url, proxy.url, HIGHWAY_WORKFLOWS_DIR=str(workflows))
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
        quiet_after = _cool_down(cluster)
        clients.close()
        found: dict[str, object] = {**broken(cluster, testimony=clients.testimony)}
        code = _report(scene, clients, (begun, faults_until), quiet_after, found)
        for invariant, rows in found.items():
            print(f"  BROKEN {invariant}: {rows}")
        if found:
            kept = folder.with_name(f"{folder.name}.log")
            kept.write_text(cluster.services.logs(), encoding="utf-8")
            print(f"  what the services said: {kept}\n{cluster.unfinished()}")
        else:
            print(f"  all {len(CHECKS)} invariants hold")
        return 1 if found else code
    finally:
        over.set()
        cluster.close()
        proxy.close()
        shutil.rmtree(folder, ignore_errors=True)


def _cool_down(cluster: Cluster) -> float | None:
    """Seconds until everything was over; None if it was not in time."""
    begun = time.monotonic()

    def is_quiet() -> bool:
        # A call of a client that gave up may have come through late, and have paused a run.
        for (run_id,) in cluster.rows("SELECT workflow_id FROM workflows WHERE status = 'PAUSED'"):
            cluster.runs.unpause(run_id, "chaos")
        return cluster.open_runs() == 0

    if not eventually(is_quiet, within=COOL_DOWN):
        return None
    seconds = time.monotonic() - begun
    eventually(lambda: cluster.value("SELECT count(*) FROM task_queue") == 0, within=5)
    return seconds


def _report(
    scene: Scene, clients: Clients, during: tuple[float, float], quiet_after: float | None, found: dict[str, object]
) -> int:
    """Print what happened; 2 if it proves nothing. What must not have happened goes to ``found``."""
    cluster = scene.cluster
    effects = cluster.ledger.effects()
    statuses = dict(cluster.rows("SELECT status, count(*) FROM workflows GROUP BY 1 ORDER BY 1"))
    counters = dict(cluster.rows("SELECT name, value FROM counters ORDER BY 1"))
    acknowledged = len(clients.acknowledged) / max(1, clients.begun)
    again = len(effects) - len({(one.run, one.task) for one in effects})
    least = _slowest_window(effects, scene.outages, *during)
    seconds = during[1] - during[0]
    print(f"  {scene.count} faults in {seconds:.0f} s; {len(clients.acknowledged)} runs acknowledged: {statuses}")
    print(f"  {len(effects)} effects, {again} of them repetitions; at least {least} in each {WINDOW:g} s")
    print(f"  counters: {counters}\n  calls: {dict(sorted(clients.calls.items()))}")
    print(f"  everything was over {quiet_after:.1f} s after the faults" if quiet_after is not None else "  NOT QUIET")
    happened = dict(cluster.rows(_HAPPENED))
    print(f"  {happened}")
    for note in scene.notes:
        print(f"  {note}")
    waits = sorted(_recoveries(effects, scene.kills))
    if waits:
        middle, p99 = (waits[min(len(waits) - 1, int(len(waits) * part))] for part in (0.5, 0.99))
        print(
            f"  from a kill to the next start: p50 {middle:.2f} s, p99 {p99:.2f} s, n {len(waits)}, lease {LEASE:g} s"
        )
    if clients.failures:
        found["no client is told what it should not be"] = clients.failures[:10]
    if failed := cluster.rows(_FAILED_FOR_NO_REASON):
        found["a run fails only if its document does, or it has cost too many workers"] = failed
    if least == 0:
        found["it goes on in each ten seconds"] = "no effect in one of them"
    proof = {"leases_lost"} if scene.kills else set()
    missing = [name for name, amount in happened.items() if not amount] + [*(proof - counters.keys())]
    if scene.count == 0 or acknowledged < 0.9 or missing:
        print(f"  INVALID: {scene.count} faults, {acknowledged:.0%} acknowledged, none of {missing}")
        return 2
    return 0


_HAPPENED = """
SELECT 'timers', count(wake_up_at) FROM tasks WHERE operator_type = 'wait' AND status = 'completed'
UNION ALL SELECT 'events', count(*) FROM tasks WHERE operator_type = 'wait_for_event' AND status = 'completed'
UNION ALL SELECT 'approvals ' || lower(status), count(*) FROM approvals GROUP BY 1
UNION ALL SELECT 'child runs', count(*) FROM workflows WHERE parent_workflow_id IS NOT NULL
UNION ALL SELECT 'increments', count(*) FROM tasks WHERE function = 'tools.memory.increment' AND status = 'completed'
UNION ALL SELECT 'iterations', count(DISTINCT scope) FROM tasks WHERE scope <> ''
UNION ALL SELECT 'skipped', count(*) FROM tasks WHERE status = 'skipped'
UNION ALL SELECT 'failed attempts', count(*) FROM event_log WHERE kind = 'attempt.failed'
UNION ALL SELECT 'pauses', count(*) FROM event_log WHERE kind = 'run.PAUSED'
UNION ALL SELECT 'cancelled runs', count(*) FROM workflows WHERE status = 'cancelled'"""
_FAILED_FOR_NO_REASON = """
SELECT workflow_id, workflow_name, error_message FROM workflows WHERE status = 'failed'
   AND workflow_name <> 'hopeless' AND error_message NOT LIKE '%worker was lost%' LIMIT 10"""


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


def _slowest_window(effects: list[Effect], outages: list[tuple[float, float]], begin: float, end: float) -> int:
    """The fewest effects in a window of the time of the faults; one that touches an outage does not count."""
    windows = [0] * max(1, int((end - begin) / WINDOW))
    for one in effects:
        number = int((one.at - begin) / WINDOW)
        if 0 <= number < len(windows):
            windows[number] += 1
    edges = [(begin + number * WINDOW, begin + (number + 1) * WINDOW) for number in range(len(windows))]
    counted = [
        amount
        for amount, (first, last) in zip(windows, edges, strict=True)
        if not any(first < until and since < last for since, until in outages)
    ]
    return min(counted, default=len(effects))


if __name__ == "__main__":
    sys.exit(main())
