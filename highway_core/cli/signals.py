"""Ctrl-C and SIGTERM: the first asks for an orderly stop, the second ends the process at once.

Python runs signal handlers on the main thread only, but the kernel may hand a signal to any thread, and then nobody
wakes the main thread out of a wait. So a thread hears of every signal through the wakeup descriptor, and interrupts
whatever the main thread waits for with a signal of its own that means nothing.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

_STOPPING = (signal.SIGINT, signal.SIGTERM)
_NUDGE = signal.SIGURG
_SHOW_CURSOR = b"\x1b[?25h"


def exit_code(number: int) -> int:
    """What a shell reports of a process that a signal ended: 130 for SIGINT, 143 for SIGTERM."""
    return 128 + number


class StopSignals:
    """While it is entered, a signal calls ``interrupt`` with its name, and raises KeyboardInterrupt if that says so.

    For the main thread. A signal that was ignored when the process started (``nohup``, a background job of a script)
    stays ignored.
    """

    def __init__(self, interrupt: Callable[[str], bool], *, on_terminal: bool = False) -> None:
        self.received: signal.Signals | None = None
        """The signal that asked for the stop."""
        self._interrupt = interrupt
        self._on_terminal = on_terminal
        self._before: dict[int, Any] = {}
        self._wakeup = -1
        self._wakeup_before = -1

    def __enter__(self) -> StopSignals:
        reader, self._wakeup = os.pipe()
        os.set_blocking(self._wakeup, False)
        main = threading.get_ident()
        threading.Thread(target=_nudge, args=(reader, main), name="highway-signals", daemon=True).start()
        self._wakeup_before = signal.set_wakeup_fd(self._wakeup, warn_on_full_buffer=False)
        self._before[_NUDGE] = signal.signal(_NUDGE, _nothing)
        for number in _STOPPING:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(self._wakeup_before)
        os.close(self._wakeup)
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


def _nudge(reader: int, main: int) -> None:
    """Until the other end of the pipe is closed: have the main thread look what came."""
    while numbers := os.read(reader, 1):
        if numbers[0] in _STOPPING:
            signal.pthread_kill(main, _NUDGE)
    os.close(reader)


def _nothing(_number: int, _frame: FrameType | None) -> None:
    """To have been called is all."""
