"""What durable execution costs: Highway beside DBOS, Absurd, a bare loop and the limit of PostgreSQL; see README.md.

    python benchmarks/durable.py

Everything runs on one embedded PostgreSQL with its default durability (fsync on): by turns, each system with a database
of its own and two worker processes, and nothing else running meanwhile. The tables have medians; the exit code is 0
whatever they say.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from durable_figures import Figures, as_json, tables
from durable_limits import pgbench_rates, psycopg2_rates
from durable_profile import profile
from durable_systems import WORKERS, Contender, System, contenders, running, warm_up
from environments import DEFAULT_FOLDER
from postgres_server import Server, cpu_seconds, running_server, watch

SYSTEMS = ("highway", "dbos", "absurd", "bare", "limits")
WORKLOADS = ("W1", "W2", "W3", "W4", "W6", "W5")
_BEFORE_THE_FIRST_WAKES = 0.5


@dataclass(frozen=True)
class Scale:
    """How much of everything."""

    runs: int = 1000
    steps: int = 5
    chain: int = 200
    width: int = 1000
    samples: int = 200
    sleepers: int = 5000
    short_runs: int = 10_000
    limit_seconds: int = 3


QUICK = Scale(runs=20, steps=5, chain=20, width=30, samples=10, sleepers=30, short_runs=50, limit_seconds=1)

PROFILED: dict[str, Callable[[Scale], dict[str, Any]]] = {
    "W1": lambda scale: {"do": "chains", "runs": 3 * scale.runs, "steps": scale.steps},
    "W2": lambda scale: {"do": "chains", "runs": 1, "steps": scale.chain},
    "W3": lambda scale: {"do": "fan_out", "width": scale.width},
    "W6": lambda scale: {"do": "chains", "runs": scale.short_runs, "steps": 1},
}


def main() -> None:
    options = arguments()
    scale = QUICK if options.quick else Scale()
    figures = Figures()
    with running_server(options.data) as server, tempfile.TemporaryDirectory() as folder:
        everyone = contenders(options.venvs, options.systems)
        if options.profile:
            print(*profile(everyone[0], server, Path(folder), PROFILED[options.profile](scale), scale.chain), sep="\n")
            return
        figures.setting = setting(server)
        for number in range(options.repetitions):
            for contender in everyone:
                measure(contender, server, Path(folder), options, scale, figures)
            if "limits" in options.systems:
                measure_limits(server, scale, figures)
            print(f"repetition {number + 1} of {options.repetitions} is done", file=sys.stderr)
    if options.json:
        print(json.dumps(as_json(figures), indent=2))
    else:
        print(*tables(figures), sep="\n")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--systems", type=_names(SYSTEMS), default=set(SYSTEMS), help=f"of {','.join(SYSTEMS)} (all)")
    parser.add_argument(
        "--workloads", type=_names(WORKLOADS), default=set(WORKLOADS), help="of W1,W2,W3,W4,W5,W6 (all)"
    )
    parser.add_argument("--repetitions", type=int, default=3, help="how often; the medians are printed (3)")
    parser.add_argument("--sleep-seconds", type=float, default=30, help="how long the runs of W5 sleep (30)")
    parser.add_argument("--quick", action="store_true", help="a scale that shows that it works and measures nothing")
    parser.add_argument("--data", type=Path, help="a folder on the disk that PostgreSQL is to write to (temporary)")
    parser.add_argument("--venvs", type=Path, default=DEFAULT_FOLDER, help="where the peers' environments are kept")
    parser.add_argument("--json", action="store_true", help="print every sample as JSON instead of tables")
    parser.add_argument("--profile", choices=PROFILED, help="only this workload of Highway, and where its time goes")
    options = parser.parse_args()
    if options.profile:
        options.systems = {"highway"}
    return options


def measure(
    contender: Contender, server: Server, folder: Path, options: argparse.Namespace, scale: Scale, figures: Figures
) -> None:
    """One repetition of everything that is wanted of one system."""
    with server.database(contender.key) as url, running(contender, url, folder) as system:
        warm_up(system, scale.chain)
        found = figures.systems[contender.name]
        for workload in WORKLOADS:
            if workload not in options.workloads or (workload == "W5" and not contender.sleeps):
                continue
            if workload == "W1":
                seconds = counted_chains(system, server, scale, figures)
                found["W1"].append(scale.runs * scale.steps / seconds)
            elif workload == "W2":
                found["W2"].append(system.call("chains", runs=1, steps=scale.chain)["seconds"] / scale.chain * 1e3)
            elif workload == "W3":
                found["W3"].append(system.call("fan_out", width=scale.width)["seconds"])
                if contender.gathers:
                    found["W3 gathered"].append(system.call("gathered", width=scale.width)["seconds"])
            elif workload == "W4":
                samples = sorted(system.call("latency", samples=scale.samples)["samples"])
                found["W4 p50"].append(samples[len(samples) // 2] * 1e3)
                found["W4 p99"].append(samples[int(len(samples) * 0.99)] * 1e3)
            elif workload == "W6":
                seconds = system.call("chains", runs=scale.short_runs, steps=1)["seconds"]
                found["W6"].append(scale.short_runs / seconds)
            else:
                measure_sleep(system, server, scale.sleepers, options.sleep_seconds, found)
        figures.versions[contender.name] = system.version


def counted_chains(system: System, server: Server, scale: Scale, figures: Figures) -> float:
    """W1, and who used the processors meanwhile."""
    users = {"services": system.services, "PostgreSQL": [server.pid], "client": [system.client]}
    before = {user: cpu_seconds(pids) for user, pids in users.items()}
    seconds: float = system.call("chains", runs=scale.runs, steps=scale.steps)["seconds"]
    for user, pids in users.items():
        figures.cpu[system.name][user].append(cpu_seconds(pids) - before[user])
    return seconds


def measure_sleep(system: System, server: Server, runs: int, seconds: float, found: dict[str, list[float]]) -> None:
    """W5. What is used while all sleep is seen only if that takes longer than submitting them."""
    begun = system.call("sleep_begin", runs=runs, seconds=seconds)
    found["W5 submit"].append(begun["submit"])
    found["W5 asleep"].append(begun["asleep"])
    left = begun["first_due"] - time.time() - _BEFORE_THE_FIRST_WAKES
    if begun["all"] and left > 1:
        idle = watch(server, system.url, system.services, left)
        found["W5 cpu"].append(idle.cpu_percent)
        found["W5 queries"].append(idle.transactions_a_minute)
    ended = system.call("sleep_end", runs=runs)
    found["W5 p50"].append(ended["p50"] * 1e3)
    found["W5 p99"].append(ended["p99"] * 1e3)


def measure_limits(server: Server, scale: Scale, figures: Figures) -> None:
    with server.database("limits") as url:
        rates = pgbench_rates(server.programs, url, scale.limit_seconds)
        rates |= psycopg2_rates(url, scale.limit_seconds, WORKERS)
    for name, rate in rates.items():
        figures.limits[name].append(rate)


def setting(server: Server) -> dict[str, str]:
    """The class of the machine, and nothing that would tell which one it is."""
    return {
        "date": str(datetime.now(UTC).date()),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        "Python": platform.python_version(),
        "PostgreSQL": server.settings(),
    }


def _names(known: tuple[str, ...]) -> Callable[[str], set[str]]:
    def names(text: str) -> set[str]:
        found = set(text.split(","))
        if not found <= set(known):
            raise argparse.ArgumentTypeError(f"{', '.join(sorted(found - set(known)))} is none of {', '.join(known)}")
        return found

    return names


if __name__ == "__main__":
    main()
