"""Where the time of a process goes: what every thread is doing, looked at many times a second, and its CPU time.

A sample counts for a function as *inclusive* wherever it is on the stack, and as *self* where it is the innermost one
of this project; the CPU time says how much of all that was more than waiting. Unlike ``cProfile`` it sees all threads
at once, and it slows nothing down.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType

_PAUSE = 0.002
_TICK = os.sysconf("SC_CLK_TCK")
_PROJECT = "highway_core"


class Sampler:
    """Looks at all threads but its own until it is stopped."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)
        self.samples = 0
        self.inclusive: Counter[tuple[str, str]] = Counter()
        self.inmost: Counter[tuple[str, str]] = Counter()
        self._names: dict[int, tuple[str, int | None]] = {}
        self._cpu: dict[int, float] = {}

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def cpu(self) -> dict[str, float]:
        """Thread name (without its number) → seconds."""
        found: Counter[str] = Counter()
        for native, name in {native: name for name, native in self._names.values() if native}.items():
            found[name] += self._cpu.get(native, 0.0)
        return dict(found)

    def _run(self) -> None:
        me = threading.get_ident()
        while not self._stop.wait(_PAUSE):
            if self.samples % 50 == 0:
                self._look_at_threads()
            self.samples += 1
            for ident, frame in sys._current_frames().items():  # noqa: SLF001 - it has no public name
                if ident != me:
                    self._count(self._names.get(ident, ("new", None))[0], frame)
        self._look_at_threads()

    def _look_at_threads(self) -> None:
        for thread in threading.enumerate():
            self._names[thread.ident or 0] = (thread.name.rstrip("0123456789-_"), thread.native_id)
        for entry in Path("/proc/self/task").iterdir():
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            self._cpu[int(entry.name)] = (int(fields[11]) + int(fields[12])) / _TICK

    def _count(self, thread: str, innermost: FrameType) -> None:
        seen = set()
        frame: FrameType | None = innermost
        own = ""
        while frame is not None:
            code = frame.f_code
            if _PROJECT in code.co_filename:
                module = code.co_filename.rpartition(f"{_PROJECT}/")[2]
                seen.add(f"{module}:{code.co_qualname}")
                own = own or f"{module}:{frame.f_lineno} {code.co_name}"
            frame = frame.f_back
        for name in seen:
            self.inclusive[thread, name] += 1
        self.inmost[thread, own or f"{innermost.f_code.co_filename}:{innermost.f_lineno}"] += 1


def sampled(work: Callable[[], int], file: Path) -> int:
    """Do the work and write what was seen meanwhile."""
    sampler = Sampler()
    sampler.start()
    begin = time.perf_counter()
    try:
        return work()
    finally:
        sampler.stop()
        found = {
            "seconds": time.perf_counter() - begin,
            "samples": sampler.samples,
            "cpu": sampler.cpu,
            "inclusive": [[*key, number] for key, number in sampler.inclusive.most_common(200)],
            "self": [[*key, number] for key, number in sampler.inmost.most_common(200)],
        }
        file.write_text(json.dumps(found))
