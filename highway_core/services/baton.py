"""The baton: whoever has it decides for the worker.

It is the deciding thread's, which puts it down while it waits for news. A thread that has news then, because what it
carried out has come to its end, takes it up and decides in its stead: it commits the answer and begins what follows,
and no thread has to wake another one. Along a chain that is a good part of the time between two tasks.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Baton:
    """Thread-safe. The deciding thread has it from the beginning; elsewhere that name means whoever has it."""

    def __init__(self) -> None:
        self._is_down = False
        self._taken_up = threading.Lock()

    @property
    def is_down(self) -> bool:
        """Anybody may take it up."""
        return self._is_down

    @contextmanager
    def put_down(self) -> Iterator[None]:
        """The deciding thread waits; afterwards it has the baton again, once nobody else has it any more."""
        self._is_down = True
        try:
            yield
        finally:
            self._is_down = False
            with self._taken_up:
                pass

    def take_up(self, decide: Callable[[], bool]) -> bool:
        """Decide, if the baton lies there; False if it does not. ``decide`` raises nothing, and answers whether the
        baton may lie there again; if not, the deciding thread must have been told to go on."""
        if not self.is_down or not self._taken_up.acquire(blocking=False):
            return False
        try:
            mine = self.is_down  # its owner may have come back in between
            if mine and not decide():
                self._is_down = False
            return mine
        finally:
            self._taken_up.release()
