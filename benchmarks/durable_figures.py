"""What was measured in DURABLE mode: the figures, their medians, what is to be reached, and the tables."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Metric:
    """One line of the table."""

    key: str
    title: str
    more_is_better: bool = False
    digits: int = 1


METRICS = (
    Metric("W1", "W1 chains of 5: steps/s", more_is_better=True, digits=0),
    Metric("W2", "W2 chain of 200: ms a step", digits=2),
    Metric("W3", "W3 fan-out 1,000 and join: s", digits=2),
    Metric("W3 gathered", "W3 in one process only: s", digits=2),
    Metric("W4 p50", "W4 submit to result, p50: ms"),
    Metric("W4 p99", "W4 submit to result, p99: ms"),
    Metric("W5 submit", "W5 asleep: submit, s", digits=2),
    Metric("W5 asleep", "W5 asleep: until all sleep, s", digits=2),
    Metric("W5 cpu", "W5 asleep: idle CPU, % of a core", digits=2),
    Metric("W5 queries", "W5 asleep: transactions/min", digits=0),
    Metric("W5 p50", "W5 asleep: lateness p50, ms"),
    Metric("W5 p99", "W5 asleep: lateness p99, ms"),
    Metric("W6", "W6 one-step runs: runs/s", more_is_better=True, digits=0),
)


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
        value, limit = f"{self.value:,.{digits}f} {self.unit}", f"{sign} {self.limit:.3g} {self.unit}"
        return f"{self.what:<46}{value:>12}{limit:>14}   {'met' if self.met else 'MISSED'}"


@dataclass
class Figures:
    """Everything that was seen; samples, not medians."""

    setting: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    systems: dict[str, dict[str, list[float]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))
    """Name → metric → one value a repetition."""
    cpu: dict[str, dict[str, list[float]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))
    """Name → who used it during W1 → seconds of CPU."""
    limits: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Transitions a second."""

    def median(self, system: str, metric: str) -> float | None:
        values = self.systems.get(system, {}).get(metric)
        return statistics.median(values) if values else None

    def ratio(self, metric: Metric, other: str, mine: str = "Highway") -> float | None:
        """How many times better we are; below 1 is worse."""
        ours, theirs = self.median(mine, metric.key), self.median(other, metric.key)
        if not ours or not theirs:
            return None
        return ours / theirs if metric.more_is_better else theirs / ours


def targets(figures: Figures) -> Iterator[Target]:
    """What issue 3 asks for, of what was measured."""
    metrics = {metric.key: metric for metric in METRICS}
    for key, other, limit in (
        ("W1", "DBOS", 6.0),
        ("W1", "Absurd", 2.5),
        ("W2", "Absurd", 1.0),
        ("W3", "DBOS", 10.0),
        ("W6", "DBOS", 3.0),
    ):
        ratio = figures.ratio(metrics[key], other)
        if ratio is not None:
            yield Target(f"{key}: times better than {other}", ratio, limit, "×", at_least=True)
    for key, limit, unit in (("W4 p50", 6, "ms"), ("W5 p99", 100, "ms"), ("W5 cpu", 2, "%")):
        value = figures.median("Highway", key)
        if value is not None:
            yield Target(metrics[key].title, value, limit, unit)


def tables(figures: Figures) -> Iterator[str]:
    """Lines to print."""
    yield ", ".join(f"{name}: {value}" for name, value in figures.setting.items())
    names = list(figures.systems)
    others = [name for name in names if name != "Highway"] if "Highway" in names else []
    if names:
        yield "\nMedians (least – most), and how many times better Highway is\n"
        yield " " * 34 + "".join(f"{name + ' ' + figures.versions.get(name, ''):^26}" for name in names)
    for metric in METRICS:
        if any(figures.median(name, metric.key) is not None for name in names):
            cells = "".join(f"{_cell(figures, name, metric):^26}" for name in names)
            ratios = [(name, figures.ratio(metric, name)) for name in others]
            yield f"{metric.title:<34}{cells}" + "  ".join(f"{name} {ratio:.1f} ×" for name, ratio in ratios if ratio)
    if figures.cpu:
        yield "\nSeconds of CPU during W1\n"
        for name, users in figures.cpu.items():
            yield f"{name:<34}" + ", ".join(f"{user} {statistics.median(some):.2f}" for user, some in users.items())
    if figures.limits:
        yield "\nThe limit: one task completed and the next enqueued, transitions/s\n"
        for name, values in figures.limits.items():
            yield f"{name:<46}{statistics.median(values):>10,.0f}   ({min(values):,.0f} – {max(values):,.0f})"
    reached = list(targets(figures))
    if reached:
        yield "\nTargets\n"
        yield from map(str, reached)


def as_json(figures: Figures) -> dict[str, Any]:
    return {**vars(figures), "targets": [{**asdict(target), "met": target.met} for target in targets(figures)]}


def _cell(figures: Figures, name: str, metric: Metric) -> str:
    median = figures.median(name, metric.key)
    if median is None:
        return "–"
    values, digits = figures.systems[name][metric.key], metric.digits
    return f"{median:,.{digits}f} ({min(values):,.{digits}f} – {max(values):,.{digits}f})"
