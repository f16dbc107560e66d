"""The sandbox: programs that nobody vouches for, run where they can harm nobody.

No restriction inside the interpreter is a boundary, so the boundary is the process. With **bubblewrap** it has
namespaces of its own (processes, network, IPC, host name, users), sees only ``/usr``, this Python installation and the
request's files (read-only), its private working folder and ``/tmp`` (in memory, bounded), and belongs to nobody.
Started by root, the program really becomes the user nobody; started by anybody else, it is nobody in a user namespace.
Without bubblewrap it is a plain process with the same limits, an empty environment and an empty folder: it can read
what we can read and use the network, and a warning says so once. ``SandboxResult.isolation`` says which it was.

A program is bounded in memory per process, processes, open files, file size, and CPU time if it has a timeout. What it
leaves in the background is killed when it ends.
"""

from __future__ import annotations

import json
import logging
import math
import os
import shutil
import stat
import sys
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath

from highway_core.errors import TaskError
from highway_core.tools.context import SandboxRequest, SandboxResult, ToolContext
from highway_core.utils.process_tree import tasks_of
from highway_core.utils.processes import Command, ProcessResult, carry_out
from highway_core.utils.stopping import StopScope

log = logging.getLogger("HighwayEngine")

_NOBODY = 65534
_IS_ROOT = os.geteuid() == 0
_MIB = 1024 * 1024
_PROCESSES = 64
_OPEN_FILES = 256
_FILE_SIZE = 64 * _MIB
_FOLDER_SIZE = 256 * _MIB
_WORK = "/work"
_NAMESPACES = ("--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try")
_SYSTEM = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_ETC = ("/etc/alternatives", "/etc/ld.so.cache", "/etc/localtime")
_PARTS = ("bin", "lib", "lib64", "pyvenv.cfg")
"""What a Python installation or virtual environment consists of; the folder itself may be somebody's home."""
_PROBE = SandboxRequest((sys.executable, "-I", "-S", "-c", "print(1)"), timeout=20)


@dataclass(frozen=True, slots=True)
class _Isolation:
    """One way to hold a program."""

    kind: str
    prefix: tuple[str, ...] = ()
    """The bubblewrap command up to the request's own files; empty without bubblewrap."""
    uid: int | None = None
    """Who the program becomes; None: it stays who it is."""


class SandboxExecutor:
    """Runs programs in the best isolation that this machine allows; which one is tried out once per process."""

    def __call__(self, request: SandboxRequest, context: ToolContext) -> SandboxResult:
        """Raises what ``run_process`` raises; an exit code other than zero is the caller's to judge."""
        isolation = _isolation()
        result = _run(isolation, request, context.stop, context.settings.max_output_bytes)
        return SandboxResult(result.returncode, result.stdout, result.stderr, isolation.kind)


def _isolation() -> _Isolation:
    with _choosing:  # several tasks may be the first
        return _choose()


_choosing = threading.Lock()


@cache
def _choose() -> _Isolation:
    reason = "it is not installed"
    for isolation in _bubblewraps():
        reason = _fault(isolation)
        if not reason:
            return isolation
    log.warning(
        "bubblewrap cannot be used (%s): tools.code.exec and tools.python.run start plain processes, which may read "
        "this user's files and use the network. Install bubblewrap, or allow it to create namespaces.",
        reason,
    )
    nobody = _Isolation("subprocess", uid=_NOBODY)
    return nobody if _IS_ROOT and not _fault(nobody) else _Isolation("subprocess")


def _bubblewraps() -> list[_Isolation]:
    """The ways to use bubblewrap, the best first."""
    program = shutil.which("bwrap")
    if program is None:
        return []
    knows = _help(program)
    common = (*_NAMESPACES, "--hostname", "sandbox", "--die-with-parent")
    size = ("--size", str(_FOLDER_SIZE)) if "--size" in knows else ()
    layout = (*_system_mounts(), *_private_mounts(size), *_python_mounts())
    locked = ("--disable-userns",) if "--disable-userns" in knows else ()
    as_user = ("--unshare-user", "--uid", str(_NOBODY), "--gid", str(_NOBODY), *locked)
    ways = [_Isolation("bubblewrap", (program, *common, *as_user, *layout))]
    if _IS_ROOT:
        # Without a user namespace nobody is nobody outside as well, and the kernel counts its processes.
        may_change = ("--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID")
        ways.insert(0, _Isolation("bubblewrap", (program, *common, *may_change, *layout), uid=_NOBODY))
    return ways


def _help(program: str) -> str:
    try:
        return carry_out(Command((program, "--help"), _MIB, timeout=20)).stdout
    except (OSError, TaskError):
        return ""


def _system_mounts() -> tuple[str, ...]:
    words = ["--ro-bind", "/usr", "/usr"]
    for name in _SYSTEM:
        path = Path(name)
        if path.is_symlink():
            words += ["--symlink", str(path.readlink()), name]
        elif path.is_dir():
            words += ["--ro-bind", name, name]
    words += ["--dir", "/etc"]
    for name in _ETC:
        words += ["--ro-bind-try", name, name]
    return (*words, "--proc", "/proc", "--dev", "/dev")


def _private_mounts(size: tuple[str, ...]) -> tuple[str, ...]:
    words: list[str] = []
    for folder in ("/dev/shm", "/tmp", _WORK):  # noqa: S108 - in there, where it is nobody else's
        words += ["--perms", "1777", *size, "--tmpfs", folder]
    return tuple(words)


def _python_mounts() -> tuple[str, ...]:
    """The interpreter that runs us, where it is not in ``/usr``: the virtual environment and what it is based on."""
    words: list[str] = []
    made: set[Path] = set()
    for prefix in dict.fromkeys((Path(sys.prefix), Path(sys.base_prefix), Path(sys.executable).resolve().parents[1])):
        if prefix.is_relative_to("/usr"):
            continue
        for folder in reversed((prefix, *prefix.parents[:-1])):
            if folder not in made and folder not in map(Path, ("/tmp", _WORK)):  # noqa: S108
                made.add(folder)
                words += ["--dir", str(folder)]  # or bubblewrap makes it for root's eyes only
        for part in _PARTS:
            words += ["--ro-bind-try", str(prefix / part), str(prefix / part)]
    return tuple(words)


def _fault(isolation: _Isolation) -> str:
    """Why a program cannot be run that way; empty if it can."""
    try:
        result = _run(isolation, _PROBE, None, _MIB)
    except (OSError, TaskError) as error:
        return str(error)
    return "" if result.stdout == "1\n" else result.stderr.strip() or f"exit code {result.returncode}"


def _run(isolation: _Isolation, request: SandboxRequest, stop: StopScope | None, max_output: int) -> ProcessResult:
    with tempfile.TemporaryDirectory(prefix="highway-sandbox-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        files = _readable(request.files, folder)
        if isolation.prefix:
            mounts = [word for path, file in files.items() for word in ("--ro-bind", str(file), f"{_WORK}/{path}")]
            wrapper = (*isolation.prefix, *mounts, "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", _WORK, "--")
            inside, cwd = _WORK, None
        else:
            wrapper, cwd = (), _own_folder(folder / "work", files, isolation.uid)
            inside = str(cwd)
        command = Command(
            argv=(*wrapper, *_launcher(request, isolation.uid), *request.argv),
            max_output=max_output,
            name=Path(request.argv[0]).name,
            env=_environment(inside, request.environ),
            cwd=cwd,
            stdin=request.stdin,
            timeout=request.timeout,
            leave_daemons=False,
        )
        return carry_out(command, stop)


def _readable(files: Mapping[str, Path], folder: Path) -> dict[str, Path]:
    """The files, by their names in the working folder; copies of those that nobody could not read."""
    found: dict[str, Path] = {}
    for name, file in files.items():
        place = PurePosixPath(name)
        if place.is_absolute() or ".." in place.parts or place == PurePosixPath():
            raise TaskError(f"A file of the sandbox needs a name inside its working folder, not '{name}'.")
        if not file.exists():
            raise TaskError(f"A file for the sandbox does not exist: {file}")
        found[name] = file.resolve()
        if file.is_file() and not file.stat().st_mode & stat.S_IROTH:
            found[name] = folder / f"file-{len(found)}"
            shutil.copyfile(file, found[name])
            found[name].chmod(0o444)
    return found


def _own_folder(work: Path, files: Mapping[str, Path], uid: int | None) -> Path:
    """A working folder on the disk that holds copies of the files, for a program that has no namespace of its own."""
    work.mkdir(mode=0o700)
    for name, file in files.items():
        target = work / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if file.is_dir():
            shutil.copytree(file, target)
        else:
            shutil.copyfile(file, target)
            target.chmod(0o444)
    if uid is not None:
        os.chown(work, uid, uid)
    return work


def _launcher(request: SandboxRequest, uid: int | None) -> tuple[str, ...]:
    own = os.geteuid() if uid is None else uid
    limits = {
        "RLIMIT_AS": request.max_memory,
        "RLIMIT_CORE": 0,
        "RLIMIT_FSIZE": _FILE_SIZE,
        "RLIMIT_NOFILE": _OPEN_FILES,
        # Counted per user, so what that user has already must be added. Root is not counted.
        "RLIMIT_NPROC": _PROCESSES + tasks_of(own),
    }
    if request.timeout is not None:
        limits["RLIMIT_CPU"] = math.ceil(request.timeout * (os.cpu_count() or 1)) + 1
    task = json.dumps({"limits": limits, "uid": uid})
    return (sys.executable, "-I", "-S", "-c", _launcher_source(), task)


@cache
def _launcher_source() -> str:
    return Path(__file__).with_name("sandbox_main.py").read_text(encoding="utf-8")


def _environment(folder: str, more: Mapping[str, str]) -> dict[str, str]:
    temporary = "/tmp" if folder == _WORK else folder  # noqa: S108 - in there, where it is nobody else's
    path = f"{sys.prefix}/bin:/usr/local/bin:/usr/bin:/bin"
    return {"PATH": path, "HOME": folder, "TMPDIR": temporary, "LANG": "C.UTF-8", **more}
