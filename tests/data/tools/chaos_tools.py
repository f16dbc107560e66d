"""Tools with an effect that can be counted, and tools that harm their worker.

Every effect is a line of the file ``ledger`` in the worker's folder: it stands for the outside world, which knows
nothing of transactions, of leases or of a database that went away. Files called ``gate-…`` let a held task go on.
"""

import ctypes
import json
import os
import signal
import subprocess
import threading
import time
import uuid
from pathlib import Path

from highway_core.tools.context import ToolContext
from highway_core.tools.decorators import tool

_HELD = []


def _note(context, seen=None):
    """One line; appending less than a page is atomic."""
    nonce = uuid.uuid4().hex
    line = {"run": context.run_id, "task": context.task_id, "attempt": context.attempt, "nonce": nonce}
    line |= {"seen": seen, "pid": os.getpid(), "at": time.time()}
    descriptor = os.open("ledger", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, json.dumps(line).encode() + b"\n")
    finally:
        os.close(descriptor)
    return nonce


@tool("chaos.effect")
def effect(context: ToolContext, seen=None, seconds=0):
    """An effect that may take its time. Each time another result; ``seen`` are the results of others by task id."""
    nonce = _note(context, seen)
    if seconds:
        time.sleep(seconds)
    return nonce


@tool("chaos.hold")
def hold(context: ToolContext, gate, attempts=1_000, seen=None):
    """An effect, and then no end before the gate opens; later attempts than ``attempts`` do not wait."""
    nonce = _note(context, seen)
    while context.attempt <= attempts and not Path(f"gate-{gate}").exists():
        time.sleep(0.005)
    return nonce


@tool("chaos.listen", stoppable=True)
def listen(context: ToolContext, gate, attempts=1_000):
    """The same, and it hears that it is to stop, and says so in the file ``stopped``."""
    nonce = _note(context)
    while context.attempt <= attempts and not Path(f"gate-{gate}").exists():
        if context.stop.wait(0.005):
            Path("stopped").write_text(context.stop.reason or "")
            context.stop.check()
    return nonce


@tool("chaos.fail")
def fail(context: ToolContext, failures):
    """An effect in each attempt, the first ``failures`` of which fail."""
    nonce = _note(context)
    if context.attempt <= failures:
        raise RuntimeError(f"attempt {context.attempt} fails")
    return nonce


@tool("chaos.die")
def die(context: ToolContext, how, attempts=1_000, after=0.0):
    """An effect, and ``after`` seconds the end of the worker, or an attempt at it, in the first ``attempts``."""
    nonce = _note(context)
    if context.attempt <= attempts:
        time.sleep(after)
        _DEATHS[how]()
    return nonce


def _segfault():
    ctypes.string_at(0)


def _system_exit():
    raise SystemExit(3)


def _base_exception():
    raise BaseException("odd")


def _interrupt():
    raise KeyboardInterrupt


def _open_files():
    while len(_HELD) < 10_000:
        _HELD.append(os.open("/dev/null", os.O_RDONLY))


_DEATHS = {
    "exit": lambda: os._exit(7),
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "segfault": _segfault,
    "abort": os.abort,
    "system exit": _system_exit,
    "base exception": _base_exception,
    "interrupt": _interrupt,
    "files": _open_files,
    # By its own hand: sent to the process, any thread may take it, and this one could still answer.
    "stop": lambda: signal.pthread_kill(threading.get_ident(), signal.SIGSTOP),
}


@tool("chaos.relief")
def relief(context: ToolContext):
    """Closes what another task has opened."""
    while _HELD:
        os.close(_HELD.pop())
    return _note(context)


@tool("chaos.processes")
def processes(context: ToolContext, count=2):
    """Child processes that nobody waits for, and a task that does not end."""
    for _ in range(count):
        subprocess.Popen(["sleep", "600"])
    _note(context)
    time.sleep(600)
