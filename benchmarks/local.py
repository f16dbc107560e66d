"""What a task costs in LOCAL mode, beside bare threads, Luigi and Prefect; see README.md.

    python benchmarks/local.py

Everything is measured in one run, by turns (A B A B …), so that whatever else the machine does hurts all alike. The
table has medians; the exit code is 0 whatever it says.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from commands import memory, start_up
from contenders import PACKAGES, Contender, contenders

SHAPES = ("chain", "fan-out")
MEMORY_TASKS = 10_000

Samples = dict[str, dict[str, list[float]]]
"""Contender → shape → µs a task, one for each sample."""


@dataclass(frozen=True)
class Target:
    """One line of what is to be reached."""

    what: str
    value: float
    limit: float
    unit: str
    at_least: bool = False

    @property
    def met(self) -> bool:
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def __str__(self) -> str:
        sign = "≥" if self.at_least else "≤"
        digits = 2 if self.value < 10 else 0
        value, limit = f"{self.value:,.{digits}f} {self.unit}", f"{sign} {self.limit:g} {self.unit}"
        return f"{self.what:<52}{value:>12}{limit:>12}   {'met' if self.met else 'MISSED'}"


def main() -> None:
    options = arguments()
    without = set(options.without.split(",")) - {""}
    everyone = contenders(options.venvs, without)
    versions: dict[str, str] = {}
    runs, preparing = overhead(everyone, options, versions)
    with tempfile.TemporaryDirectory() as folder:
        starts = start_up(Path(folder), options.rounds)
        peaks = memory(Path(folder), MEMORY_TASKS)
    seconds = {name: statistics.median(values) for name, values in starts.items()}
    reached = targets(medians(runs), seconds, peaks)
    if options.json:
        print(json.dumps(as_json(runs, preparing, starts, peaks, reached, versions), indent=2))
    else:
        print_tables(runs, preparing, seconds, peaks, reached, versions)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=1000, help="length of the chain and width of the fan-out (1000)")
    parser.add_argument("--rounds", type=int, default=9, help="samples of Highway, bare loops and start-up (9)")
    parser.add_argument("--peer-rounds", type=int, default=3, help="samples of Luigi and Prefect (3)")
    parser.add_argument("--without", default="", metavar="LIST", help=f"leave out: {','.join(PACKAGES)}")
    parser.add_argument(
        "--venvs",
        type=Path,
        default=Path(tempfile.gettempdir()) / "highway-benchmark-venvs",
        help="where the virtual environments of the peers are kept (default: below the temporary folder)",
    )
    parser.add_argument("--json", action="store_true", help="print every sample as JSON instead of tables")
    return parser.parse_args()


def overhead(
    everyone: Iterable[Contender], options: argparse.Namespace, versions: dict[str, str]
) -> tuple[Samples, Samples]:
    """µs a task of running and of preparing."""
    runs: Samples = defaultdict(lambda: defaultdict(list))
    preparing: Samples = defaultdict(lambda: defaultdict(list))
    for number in range(options.rounds):
        for shape in SHAPES:
            for one in everyone:
                if one.few and number >= options.peer_rounds:
                    continue
                sample = one.sample(shape, options.tasks)
                runs[one.name][shape].append(sample["run"] / sample["tasks"] * 1e6)
                preparing[one.name][shape].append(sample["prepare"] / sample["tasks"] * 1e6)
                versions[one.name] = sample["version"]
        print(f"round {number + 1} of {options.rounds} is done", file=sys.stderr)
    return runs, preparing


def medians(samples: Samples) -> dict[str, dict[str, float]]:
    return {
        name: {shape: statistics.median(values) for shape, values in shapes.items()} for name, shapes in samples.items()
    }


def targets(runs: dict[str, dict[str, float]], seconds: dict[str, float], peaks: dict[str, float]) -> list[Target]:
    """What issue 2 asks for, beside what was seen."""
    ours, bare = runs["Highway"], runs["bare threads"]
    found = [
        Target("chain: Highway / bare threads", ours["chain"] / bare["chain"], 3, "×"),
        Target("fan-out: Highway / bare threads", ours["fan-out"] / bare["fan-out"], 8, "×"),
    ]
    for shape in SHAPES if "Prefect" in runs else ():
        times = runs["Prefect"][shape] / ours[shape]
        found.append(Target(f"{shape}: Prefect / Highway", times, 20, "×", at_least=True))
    found.append(Target("start-up: hello.yaml / three imports", seconds["hello"] / seconds["imports"], 1.5, "×"))
    for shape, peak in peaks.items():
        found.append(Target(f"memory: {MEMORY_TASKS:,} tasks, {shape}, from YAML", peak, 300, "MB"))
    return found


def print_tables(
    runs: Samples,
    preparing: Samples,
    seconds: dict[str, float],
    peaks: dict[str, float],
    reached: list[Target],
    versions: dict[str, str],
) -> None:
    bare = medians(runs)["bare threads"]
    print(f"{machine()}\n\nµs a task: median (least – most), and how many times bare threads\n")
    print(f"{'':<16}" + "".join(f"{shape:^38}" for shape in SHAPES))
    for name, shapes in runs.items():
        line = f"{name} {versions[name]}".ljust(16)
        for shape in SHAPES:
            values = shapes[shape]
            median = statistics.median(values)
            spread = f"({min(values):,.1f} – {max(values):,.1f})"
            line += f"{median:>10,.1f} {spread:<19}{median / bare[shape]:>6,.2f} ×"
        print(line)
    loading = medians(preparing)["Highway"]
    print(f"\nHighway, before a run: load and validate, µs a task: {loading['chain']:.0f} / {loading['fan-out']:.0f}")
    print("Start-up, ms: " + ", ".join(f"{name} {value * 1e3:.0f}" for name, value in seconds.items()))
    print("\nTargets\n")
    for target in reached:
        print(target)


def as_json(
    runs: Samples,
    preparing: Samples,
    starts: dict[str, list[float]],
    peaks: dict[str, float],
    reached: list[Target],
    versions: dict[str, str],
) -> dict[str, Any]:
    return {
        "machine": machine(),
        "run_us_a_task": runs,
        "prepare_us_a_task": preparing,
        "start_up_seconds": starts,
        "memory_mb": peaks,
        "versions": versions,
        "targets": [{**vars(target), "met": target.met} for target in reached],
    }


def machine() -> str:
    """The class of the machine, and nothing that would tell which one it is."""
    today = datetime.now(UTC).date()
    load = f"load {os.getloadavg()[0]:.1f}"
    return f"{today}, Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores, {load}"


if __name__ == "__main__":
    main()
