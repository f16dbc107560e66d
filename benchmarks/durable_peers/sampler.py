"""Where the time of a process goes: what every thread is doing, looked at many times a second, and its CPU time.

A sample counts for a function as *inclusive* wherever it is on the stack, and as *self* where it is the innermost one
of this project; the CPU time says how much of all that was more than waiting. Unlike ``cProfile`` it sees all threads
at once, and slows them down little.
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
_SWITCH_SECONDS = 0.0005
"""The interpreter's own is 5 ms: a thread that computes for less and then waits would be seen only while it waits."""
_TICK = os.sysconf("SC_CLK_TCK")
_PROJECT = "highway_core"


class Sampler:
    """Looks at all threads but its own for as long as the file ``go`` exists."""

    def __init__(self, go: Path) -> None:
        self._go = go
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)
        self.seconds = 0.0
        self.samples = 0
        self.inclusive: Counter[tuple[str, str]] = Counter()
        self.inmost: Counter[tuple[str, str]] = Counter()
        self.cpu: Counter[str] = Counter()
        """Thread name (without its number) → seconds."""
        self._names: dict[int, str] = {}

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.02):
            if self._go.exists():
                self._look()

    def _look(self) -> None:
        me, begin, before = threading.get_ident(), time.perf_counter(), self._cpu_by_thread()
        while not self._stop.wait(_PAUSE) and (self.samples % 20 or self._go.exists()):
            if self.samples % 50 == 0:
                self._names = {thread.ident or 0: _name(thread) for thread in threading.enumerate()}
            self.samples += 1
            for ident, frame in sys._current_frames().items():  # noqa: SLF001 - it has no public name
                if ident != me:
                    self._count(self._names.get(ident, "new"), frame)
        self.seconds += time.perf_counter() - begin
        self.cpu.update(self._cpu_by_thread())
        self.cpu.subtract(before)

    def _cpu_by_thread(self) -> Counter[str]:
        found: Counter[str] = Counter()
        for thread in threading.enumerate():
            fields = Path(f"/proc/self/task/{thread.native_id}/stat").read_text().rpartition(")")[2].split()
            found[_name(thread)] += (int(fields[11]) + int(fields[12])) / _TICK  # type: ignore[assignment]
        return found

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


def _name(thread: threading.Thread) -> str:
    return thread.name.rstrip("0123456789-_")


def sampled(work: Callable[[], int], folder: Path) -> int:
    """Do the work and write what was seen while ``folder/go`` existed."""
    sampler = Sampler(folder / "go")
    sampler.start()
    sys.setswitchinterval(_SWITCH_SECONDS)
    try:
        return work()
    finally:
        sampler.stop()
        found = {
            "seconds": sampler.seconds,
            "samples": sampler.samples,
            "cpu": sampler.cpu,
            "inclusive": [[*key, number] for key, number in sampler.inclusive.most_common()],
            "self": [[*key, number] for key, number in sampler.inmost.most_common()],
        }
        (folder / f"worker-{os.getpid()}.json").write_text(json.dumps(found))
