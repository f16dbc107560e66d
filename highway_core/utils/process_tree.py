"""Who belongs to a process tree, and the end of all of them.

A tree is led by a process that began a session of its own. It holds the processes of that session, whatever group a
shell put them in, and, where ``/proc`` tells, their descendants wherever they went. One that cut both ties (a daemon)
is still known by the mark that it found in its environment when it started.

Standard library only: the guardian, which must start fast, imports this.
"""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

MARK = "HIGHWAY_PROCESS_TREE"
"""The environment variable with the marks of the trees that a process belongs to (a tool may run an engine)."""
_PROC = Path("/proc")
_ROUNDS = 20
"""A tree that forks while it is being killed is looked at again this often."""


def start_time(pid: int) -> str | None:
    """The moment at which ``pid`` started, in ticks since boot; None if it has ended or ``/proc`` cannot tell."""
    fields = _stat(pid)
    return None if fields is None or fields[0] in {"Z", "X"} else fields[19]


def members(leader: int | None, mark: str = "") -> set[int]:
    """The living processes of the tree led by ``leader``, itself included; empty where ``/proc`` cannot tell.

    None: it is not known who leads it, only which mark they bear.
    """
    parents: dict[int, int] = {}
    found: set[int] = set()
    for pid in _pids():
        fields = _stat(pid)
        if fields is None:
            continue
        parents[pid] = int(fields[1])
        if leader in (pid, int(fields[3])) or (mark and _bears(pid, mark)):
            found.add(pid)
    grown = True
    while grown:
        more = {pid for pid, parent in parents.items() if parent in found and pid not in found}
        grown = bool(more)
        found |= more
    return {pid for pid in found if start_time(pid) is not None}


def tasks_of(uid: int) -> int:
    """How many processes and threads the user has, as the kernel counts them for a limit; 0 if nobody can tell."""
    count = 0
    for pid in _pids():
        try:
            owner = (_PROC / str(pid)).stat().st_uid
        except OSError:
            continue
        fields = _stat(pid) if owner == uid else None
        count += 0 if fields is None else int(fields[17])
    return count


def signal_tree(leader: int, signum: int, mark: str = "") -> None:
    """Send ``signum`` to the whole tree."""
    found = members(leader, mark)
    _send_group(leader, signum)
    for pid in found - {leader}:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signum)


def kill_tree(leader: int, mark: str = "") -> None:
    """Kill the whole tree, also one that goes on forking. Only while ``leader`` is alive or not yet reaped."""
    for _ in range(_ROUNDS):
        signal_tree(leader, signal.SIGKILL, mark)
        if not members(leader, mark):
            return


def kill_bearers(mark: str) -> None:
    """Kill whoever bears the mark, with their descendants."""
    for _ in range(_ROUNDS):
        found = members(None, mark)
        if not found:
            return
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)


def kill_group(leader: int) -> None:
    """Kill what is left in the leader's own process group: cheap, for the end of an ordinary child."""
    _send_group(leader, signal.SIGKILL)


def _pids() -> list[int]:
    try:
        return [int(name) for name in os.listdir(_PROC) if name.isdigit()]  # noqa: PTH208 - names, not paths
    except OSError:
        return []


def _stat(pid: int) -> list[str] | None:
    """The fields of ``/proc/<pid>/stat`` behind the name: state, parent, group, session, …"""
    try:
        text = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()


def _bears(pid: int, mark: str) -> bool:
    try:
        return mark.encode() in (_PROC / str(pid) / "environ").read_bytes()
    except OSError:  # it has ended, or is somebody else's
        return False


def _send_group(leader: int, signum: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # nobody left; or, on macOS, only zombies
        os.killpg(leader, signum)
