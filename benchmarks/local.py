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
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from commands import memory, start_up
from contenders import PACKAGES, Contender, contenders
from environments import DEFAULT_FOLDER

SHAPES = ("chain", "fan-out")
PHASES = ("prepare", "run", "close")
MEMORY_TASKS = 10_000

Samples = dict[str, dict[str, list[float]]]
"""Contender → shape → seconds or µs, one for each sample."""


def _samples() -> Samples:
    return defaultdict(lambda: defaultdict(list))


@dataclass
class Measured:
    """Everything that was seen; samples, not medians."""

    tasks: int
    phases: dict[str, Samples] = field(default_factory=lambda: {phase: _samples() for phase in PHASES})
    """µs a task of what is done once before a run, of the run, and of what is left to do after it."""
    versions: dict[str, str] = field(default_factory=dict)
    start_up: dict[str, list[float]] = field(default_factory=dict)
    """Seconds."""
    memory: dict[str, float] = field(default_factory=dict)
    """MB."""

    def median(self, name: str, shape: str, phase: str = "run") -> float:
        """µs a task."""
        return statistics.median(self.phases[phase][name][shape])


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
        return f"{self.what:<46}{value:>10}{limit:>12}   {'met' if self.met else 'MISSED'}"


def main() -> None:
    options = arguments()
    measured = Measured(options.tasks)
    measure_overhead(contenders(options.venvs, set(options.without.split(","))), options, measured)
    with tempfile.TemporaryDirectory() as folder:
        measured.start_up = start_up(Path(folder), options.rounds)
        measured.memory = memory(Path(folder), MEMORY_TASKS)
    reached = targets(measured)
    if options.json:
        found = {"machine": machine(), **vars(measured), "targets": [as_json(target) for target in reached]}
        print(json.dumps(found, indent=2))
    else:
        print_tables(measured)
        print("\nTargets\n", *reached, sep="\n")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=1000, help="length of the chain and width of the fan-out (1000)")
    parser.add_argument("--rounds", type=int, default=9, help="samples of Highway, bare loops and start-up (9)")
    parser.add_argument("--peer-rounds", type=int, default=3, help="samples of Luigi and Prefect (3)")
    parser.add_argument("--without", default="", metavar="LIST", help=f"leave out: {','.join(PACKAGES)}")
    parser.add_argument(
        "--venvs",
        type=Path,
        default=DEFAULT_FOLDER,
        help="where the virtual environments of the peers are kept (default: below the temporary folder)",
    )
    parser.add_argument("--json", action="store_true", help="print every sample as JSON instead of tables")
    return parser.parse_args()


def measure_overhead(everyone: Iterable[Contender], options: argparse.Namespace, measured: Measured) -> None:
    """One sample of each, shape by shape, and again."""
    for number in range(options.rounds):
        for shape in SHAPES:
            for one in everyone:
                if one.few and number >= options.peer_rounds:
                    continue
                sample = one.sample(shape, options.tasks)
                measured.versions[one.name] = sample["version"]
                for phase in PHASES:
                    measured.phases[phase][one.name][shape].append(sample[phase] / sample["tasks"] * 1e6)
        print(f"round {number + 1} of {options.rounds} is done", file=sys.stderr)


def targets(measured: Measured) -> list[Target]:
    """What issue 2 asks for, beside what was seen."""
    found = []
    for shape, times in (("chain", 3), ("fan-out", 8)):
        ratio = measured.median("Highway", shape) / measured.median("bare threads", shape)
        found.append(Target(f"{shape}: Highway / bare threads", ratio, times, "×"))
    for shape in SHAPES if "Prefect" in measured.versions else ():
        ratio = measured.median("Prefect", shape) / measured.median("Highway", shape)
        found.append(Target(f"{shape}: Prefect / Highway", ratio, 20, "×", at_least=True))
    seconds = {name: statistics.median(values) for name, values in measured.start_up.items()}
    found.append(Target("start-up: hello.yaml / three imports", seconds["hello"] / seconds["imports"], 1.5, "×"))
    for shape, peak in measured.memory.items():
        found.append(Target(f"memory: {MEMORY_TASKS:,} tasks, {shape}, from YAML", peak, 300, "MB"))
    return found


def print_tables(measured: Measured) -> None:
    print(f"{machine()}\n\nµs a task: median (least – most), and how many times bare threads\n")
    print(" " * 16 + "".join(f"{shape:^41}" for shape in SHAPES))
    for name, shapes in measured.phases["run"].items():
        line = f"{name} {measured.versions[name]}".ljust(16)
        for shape in SHAPES:
            median, values = measured.median(name, shape), shapes[shape]
            spread = f"({min(values):,.1f} – {max(values):,.1f})"
            line += f"{median:>9,.1f} {spread:<23}{median / measured.median('bare threads', shape):>6,.2f} ×"
        print(line)
    print()
    for phase, meaning in (
        ("prepare", "opening the database, loading and validating"),
        ("close", "closing the database"),
    ):
        medians = ", ".join(f"{shape} {measured.median('Highway', shape, phase):.0f}" for shape in SHAPES)
        print(f"Highway apart from that, µs a task, {meaning}: {medians}")
    print("Start-up, ms: " + ", ".join(f"{k} {statistics.median(v) * 1e3:.0f}" for k, v in measured.start_up.items()))


def as_json(target: Target) -> dict[str, Any]:
    return {**asdict(target), "met": target.met}


def machine() -> str:
    """The class of the machine, and nothing that would tell which one it is."""
    today = datetime.now(UTC).date()
    load = f"load {os.getloadavg()[0]:.1f}"
    return f"{today}, Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores, {load}"


if __name__ == "__main__":
    main()
