"""Ctrl-C and SIGTERM: the first asks for an orderly stop, the second ends the process at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

_STOPPING = (signal.SIGINT, signal.SIGTERM)
_SHOW_CURSOR = b"\x1b[?25h"


def exit_code(number: int) -> int:
    """What a shell reports of a process that a signal ended: 130 for SIGINT, 143 for SIGTERM."""
    return 128 + number


class StopSignals:
    """While it is entered, a signal calls ``interrupt`` with its name, and raises KeyboardInterrupt if that says so.

    A signal that was ignored when the process started (``nohup``, a background job of a script) stays ignored.
    """

    def __init__(self, interrupt: Callable[[str], bool], *, on_terminal: bool = False) -> None:
        self.received: signal.Signals | None = None
        """The signal that asked for the stop."""
        self._interrupt = interrupt
        self._on_terminal = on_terminal
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        for number in _STOPPING:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self.received is not None:
            self._leave(number)
        self.received = signal.Signals(number)
        if self._interrupt(self.received.name):
            raise KeyboardInterrupt

    def _leave(self, number: int) -> None:
        if self._on_terminal:
            os.write(1, _SHOW_CURSOR)  # the live display had hidden it
        os._exit(exit_code(number))
