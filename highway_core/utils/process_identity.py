"""A name for a process that no other ever has, and whether the one that bears it still runs."""

from __future__ import annotations

import os
from pathlib import Path

from highway_core.utils.process_tree import start_time


def process_identity() -> str:
    """``host:pid:start-time`` of this process."""
    return f"{_host()}:{os.getpid()}:{_birth(os.getpid())}"


def is_alive(identity: str) -> bool | None:
    """Whether the process that gave itself ``identity`` still runs; None if it is on another host, or no identity."""
    host, _, rest = identity.partition(":")
    pid, _, birth = rest.partition(":")
    if host != _host() or not pid.isdecimal():
        return None
    return birth != "" and _birth(int(pid)) == birth


def _host() -> str:
    return os.uname().nodename


def _birth(pid: int) -> str:
    """When ``pid`` started, and in which boot of the machine; empty if it does not run."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")[:8]
    except OSError:
        return _birth_by_ps(pid)
    started = start_time(pid)
    return "" if started is None else f"{boot}-{started}"


def _birth_by_ps(pid: int) -> str:
    import subprocess  # noqa: PLC0415 - slow to import, and Linux never gets here

    command = ["/bin/ps", "-o", "lstart=", "-p", str(pid)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - a fixed command
    return "_".join(answer.stdout.split())
