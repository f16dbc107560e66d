"""How many tasks of one run may stand in the queue at once: enough that no thread has to wait for the next one, and not
so many that other runs have to wait long for their turn behind them.

That depends on how long the tasks take, which is not known before some have been carried out: so a run begins with
little more than there are threads, and may have more the more of its tasks have been seen to be short.
"""

from __future__ import annotations

_MOST = 200
"""Short tasks: what a commit or two can take."""
_SOON = 0.5
"""Seconds within which what stands in the queue is begun, if the run has all threads for itself."""
_SPARE = 4
"""The least number of tasks that wait for the threads that become free next."""
_GROWTH = 4
"""How many more there may be for each task that was short."""
_WEIGHT = 0.2
"""Of the newest duration in the running mean."""
_SHORTEST = 1e-3


class Pace:
    """What a process has seen of the tasks of one run."""

    def __init__(self) -> None:
        self._mean = _SHORTEST
        self._seen = 0

    def took(self, seconds: float) -> None:
        """A task of the run was carried out in that time."""
        self._mean += (max(seconds, _SHORTEST) - self._mean) * _WEIGHT
        self._seen += 1

    def window(self, threads: int) -> int:
        """How many tasks may stand in the queue or be carried out at once, where there are so many threads."""
        enough = threads + max(_SPARE, threads // 4)
        return max(enough, min(_MOST, int(threads * _SOON / self._mean), enough + _GROWTH * self._seen))
