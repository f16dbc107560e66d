"""What a task may ask of its container: an allow-list, because whoever may start any container owns the machine.

========================  =============================================================================================
``env``, ``environment``  names → values
``volumes``               ``[source:/path[:ro], …]`` or ``{source: /path}``. A source is a name (a volume of this run,
                          removed with it) or a folder inside ``HIGHWAY_FILES_ROOT``
``network``               ``bridge`` (default: ordinary images expect to reach the world), ``none``, or a network of
                          the run's resource manager
``memory``                bytes or ``512m``; no more, swap included
``cpus``                  how many
``pids_limit``            processes and threads; default 1024
``user``                  ``uid[:gid]`` or a name of the image; default: the image's own
``working_dir``           default: the image's own
``entrypoint``            list of words; default: the image's own
``read_only``             true: nothing can be written but volumes and ``/tmp``
========================  =============================================================================================

Every container runs without capabilities and cannot gain privileges. Nothing else of Docker's options is taken.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from highway_core.config import Settings
from highway_core.errors import TaskError
from highway_core.utils.naming import did_you_mean, generate_unique_identifier

_PIDS = 1024
_SIZE = re.compile(r"[1-9][0-9]*[bkmg]?")
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
_ALIASES = {"env": "environment", "mem_limit": "memory", "workdir": "working_dir", "network_mode": "network"}


@dataclass(slots=True)
class ContainerOptions:
    """The options, checked. ``create`` are keywords of ``client.containers.create``."""

    create: dict[str, Any] = field(default_factory=dict)
    volumes: set[str] = field(default_factory=set)
    """The names of volumes that belong to the run."""


def read_options(
    options: Mapping[str, Any], settings: Settings, run_id: str, networks: Iterable[str]
) -> ContainerOptions:
    """Check ``options``; TaskError names one that cannot be used, and what can. ``networks`` are the run's own."""
    found = ContainerOptions(
        {
            "cap_drop": ["ALL"],
            "security_opt": ["no-new-privileges"],
            "pids_limit": _PIDS,
        }
    )
    given = {_ALIASES.get(name, name): value for name, value in options.items() if value is not None}
    for name, value in given.items():
        match name:
            case "volumes":
                _volumes(value, found, settings, run_id)
            case "network":
                found.create["network"] = _network(value, networks)
            case _:
                found.create |= _simple(name, value)
    return found


def _simple(name: str, value: Any) -> dict[str, Any]:
    reader = _SIMPLE.get(name)
    if reader is None:
        known = sorted({*_SIMPLE, "volumes", "network"})
        hint = did_you_mean(name, known)
        raise TaskError(
            f"docker option '{name}' is not allowed{f'; {hint}' if hint else ''}. Allowed are: {', '.join(known)}."
        )
    return reader(name, value)


def _refuse(name: str, value: Any, takes: str) -> TaskError:
    return TaskError(f"docker option '{name}' must be {takes}, not {value!r}.")


def _environment(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise _refuse(name, value, "a mapping of names to values")
    environment = {}
    for key, item in value.items():
        if not isinstance(key, str) or not key or "=" in key or "\0" in key:
            raise _refuse(f"{name}.{key}", item, "under a name without '='")
        if not isinstance(item, str | int | float):
            raise _refuse(f"{name}.{key}", item, "text or a number")
        environment[key] = str(item).lower() if isinstance(item, bool) else str(item)
    return {"environment": environment}


def _memory(name: str, value: Any) -> dict[str, Any]:
    text = str(value).lower()
    if isinstance(value, bool) or not _SIZE.fullmatch(text):
        raise _refuse(name, value, "bytes, or a size such as 512m")
    return {"mem_limit": text, "memswap_limit": text}


def _cpus(name: str, value: Any) -> dict[str, Any]:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 10_000:
        raise _refuse(name, value, "a number above zero")
    return {"nano_cpus": int(value * 1e9)}


def _pids_limit(name: str, value: Any) -> dict[str, Any]:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise _refuse(name, value, "a whole number above zero")
    return {name: value}


def _text(name: str, value: Any) -> dict[str, Any]:
    if isinstance(value, bool) or not isinstance(value, str | int) or not str(value):
        raise _refuse(name, value, "text")
    return {name: str(value)}


def _working_dir(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, str) or not value.startswith("/"):
        raise _refuse(name, value, "an absolute path in the container")
    return {name: value}


def _entrypoint(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, list) or not value or not all(isinstance(word, str) for word in value):
        raise _refuse(name, value, "a list of words")
    return {name: value}


def _read_only(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, bool):
        raise _refuse(name, value, "true or false")
    return {"read_only": True, "tmpfs": {"/tmp": "mode=1777"}} if value else {}  # noqa: S108 - in the container


_SIMPLE: Mapping[str, Callable[[str, Any], dict[str, Any]]] = {
    "cpus": _cpus,
    "entrypoint": _entrypoint,
    "environment": _environment,
    "memory": _memory,
    "pids_limit": _pids_limit,
    "read_only": _read_only,
    "user": _text,
    "working_dir": _working_dir,
}


def _network(value: Any, networks: Iterable[str]) -> str:
    allowed = ["bridge", "none", *networks]
    if value not in allowed:
        raise _refuse("network", value, f"one of {', '.join(allowed)}")
    return str(value)


def _volumes(value: Any, found: ContainerOptions, settings: Settings, run_id: str) -> None:
    if isinstance(value, Mapping):
        value = [f"{source}:{target}" for source, target in value.items()]
    if not isinstance(value, list):
        raise _refuse("volumes", value, "a list of source:/path[:ro]")
    mounts = found.create["volumes"] = {}
    for entry in value:
        source, target, mode = _volume(entry)
        if _NAME.fullmatch(source):
            source = generate_unique_identifier(source, run_id)
            found.volumes.add(source)
        else:
            source = str(_folder(source, settings))
        if source in mounts:
            raise _refuse("volumes", value, "a list with every source once")
        mounts[source] = {"bind": target, "mode": mode}


def _volume(entry: Any) -> tuple[str, str, str]:
    parts = entry.split(":") if isinstance(entry, str) else []
    if len(parts) == 2:
        parts.append("rw")
    if len(parts) != 3 or not parts[0] or not parts[1].startswith("/") or parts[2] not in {"ro", "rw"}:
        raise _refuse("volumes", entry, "source:/path or source:/path:ro")
    source, target, mode = parts
    return source, target, mode


def _folder(source: str, settings: Settings) -> Path:
    """A folder of this machine, links followed; only what the filesystem tools may touch as well."""
    root = (settings.files_root or Path()).resolve()
    folder = (root / Path(source).expanduser()).resolve()
    if not folder.is_relative_to(root):
        raise TaskError(
            f"docker volume '{source}' is outside of {root}, the folder that tasks may use (HIGHWAY_FILES_ROOT)."
        )
    if not folder.exists():
        raise TaskError(f"docker volume '{source}' does not exist: there is no {folder}.")
    return folder
