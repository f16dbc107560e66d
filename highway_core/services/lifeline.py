"""What ties a service to the process that started it: a pipe that nobody writes to.

The parent holds the writing end and never uses it. When the parent is gone, however that came about, the reading end
is at its end, and the child stops as if it had been told to. Works where no signal announces a parent's death.
"""

from __future__ import annotations

import os
import signal
import threading


def follow(descriptor: int) -> None:
    """Send this process SIGTERM as soon as the other end of the pipe ``descriptor`` is closed."""
    os.set_inheritable(descriptor, False)
    threading.Thread(target=_wait, args=(descriptor,), name="highway-lifeline", daemon=True).start()


def _wait(descriptor: int) -> None:
    try:
        while os.read(descriptor, 1):
            pass
    finally:
        os.kill(os.getpid(), signal.SIGTERM)
