"""``tools.filesystem.*``: files below one folder, HIGHWAY_FILES_ROOT (or the current one), and nowhere else.

A path is resolved first, symbolic links included, and must then lie below that folder. Whole files are written beside
their place and moved there, so that a reader, or a killed run, never sees half of one.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import shutil
import stat
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from highway_core.errors import TaskError
from highway_core.tools.context import current_context, tool_settings
from highway_core.tools.decorators import tool

_MOST_ENTRIES = 10_000
_BASE64 = "base64"


@tool("tools.filesystem.read", stoppable=True)
def read(path: str, encoding: str = "utf-8") -> dict[str, Any]:
    """``{path, content, size}`` of a file; ``encoding="base64"`` for one that is no text."""
    place = _inside(path)
    limit = tool_settings().max_output_bytes
    with _told(path):
        if place.exists() and not place.is_file():
            raise TaskError(f"'{path}' is not a file.")
        with os.fdopen(os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            data = file.read(limit + 1)
    if len(data) > limit:
        raise TaskError(f"'{path}' is larger than {limit:,} bytes (HIGHWAY_MAX_OUTPUT_BYTES).")
    return {"path": path, "content": _as_text(data, encoding, path), "size": len(data)}


@tool("tools.filesystem.write", stoppable=True)
def write(path: str, content: Any, encoding: str = "utf-8", overwrite: bool = True) -> dict[str, Any]:
    """Write a whole file, with the folders that it needs. What is not text is written as JSON."""
    place, data = _inside(path), _as_bytes(content, encoding, path)
    with _told(path):
        if place.is_dir() or (not overwrite and place.exists()):
            raise TaskError(f"'{path}' is there already{' and is a folder' if place.is_dir() else ''}.")
        place.parent.mkdir(parents=True, exist_ok=True)
        _write_whole(place, data)
    return {"path": path, "size": len(data)}


@tool("tools.filesystem.append", stoppable=True)
def append(path: str, content: Any, encoding: str = "utf-8") -> dict[str, Any]:
    """Add to the end of a file, which is made if it is not there. A task that is tried again appends again."""
    place, data = _inside(path), _as_bytes(content, encoding, path)
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
    with _told(path):
        place.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(place, flags, 0o666), "ab") as file:
            file.write(data)
            file.flush()
            size = os.fstat(file.fileno()).st_size
    return {"path": path, "size": size}


@tool("tools.filesystem.list", stoppable=True)
def list_entries(path: str = ".", pattern: str = "*", recursive: bool = False) -> list[dict[str, Any]]:
    """``{name, path, type, size, modified}`` of each entry of a folder that matches ``pattern``, in order of path."""
    root, place = _root(), _inside(path)
    if not pattern or ".." in Path(pattern).parts or Path(pattern).is_absolute():
        raise TaskError(f"{pattern!r} is no pattern for entries of '{path}'; use for instance *.csv.")
    with _told(path):
        if not place.is_dir():
            raise TaskError(f"'{path}' is not a folder.")
        found = place.rglob(pattern) if recursive else place.glob(pattern)
        # A link among the folders of the pattern may lead out.
        visible = (one for one in found if one.parent.resolve().is_relative_to(root))
        entries = list(itertools.islice(visible, _MOST_ENTRIES + 1))
    if len(entries) > _MOST_ENTRIES:
        raise TaskError(f"'{path}' has more than {_MOST_ENTRIES:,} entries; narrow the pattern.")
    return [entry for one in sorted(entries) for entry in _entry(one, root)]


@tool("tools.filesystem.exists", stoppable=True)
def exists(path: str) -> dict[str, Any]:
    """``{path, exists, type}``; type is ``file``, ``folder``, ``other`` or null."""
    place = _inside(path)
    with _told(path):
        there = place.exists()
        return {"path": path, "exists": there, "type": _type(place.stat().st_mode) if there else None}


@tool("tools.filesystem.delete", stoppable=True)
def delete(path: str, recursive: bool = False, missing_ok: bool = False) -> dict[str, Any]:
    """Delete a file, a link (not what it leads to), an empty folder, or with ``recursive`` a whole one."""
    place = _inside(path, follow=False)
    with _told(path):
        there = os.path.lexists(place)
        if not there and not missing_ok:
            raise TaskError(f"There is no '{path}'.")
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place) if recursive else place.rmdir()
        else:
            place.unlink(missing_ok=True)
    return {"path": path, "deleted": there}


@tool("tools.filesystem.copy", stoppable=True)
def copy(source: str, target: str, overwrite: bool = True) -> dict[str, Any]:
    """Copy a file, or a folder with all that is in it, to the path ``target``."""
    origin, place = _inside(source), _inside(target)
    with _told(f"{source} → {target}"):
        _check_target(origin, place, source, target, overwrite)
        if origin.is_dir():
            # Links stay links: what they lead to is checked when somebody reads them.
            shutil.copytree(origin, place, symlinks=True, dirs_exist_ok=overwrite, copy_function=_copy_file)
        else:
            _copy_file(str(origin), str(place))
    return {"source": source, "target": target}


@tool("tools.filesystem.move", stoppable=True)
def move(source: str, target: str, overwrite: bool = True) -> dict[str, Any]:
    """Move a file, link or folder to the path ``target``; a file there is replaced."""
    origin, place = _inside(source, follow=False), _inside(target)
    with _told(f"{source} → {target}"):
        _check_target(origin, place, source, target, overwrite)
        origin.replace(place)
    return {"source": source, "target": target}


@tool("tools.filesystem.mkdir", stoppable=True)
def mkdir(path: str) -> dict[str, Any]:
    """Make a folder and those above it; one that is there already is fine."""
    place = _inside(path)
    with _told(path):
        place.mkdir(parents=True, exist_ok=True)
    return {"path": path}


def _root() -> Path:
    root = tool_settings().files_root or Path.cwd()
    try:
        return root.resolve(strict=True)
    except OSError as error:
        raise TaskError(f"The folder of tools.filesystem, '{root}', cannot be used: {error.strerror}.") from error


def _inside(path: str, *, follow: bool = True) -> Path:
    """Where ``path`` really is. Without ``follow`` a link that stands there is meant itself, and never the root."""
    root = _root()
    try:
        place = root / path
        real = place.resolve() if follow else place.parent.resolve() / place.name
    except (OSError, ValueError, TypeError, RuntimeError) as error:  # a loop of links, a NUL, no text
        raise TaskError(f"{path!r} is not a path that can be used: {error}.") from error
    if not real.is_relative_to(root) or (not follow and (real == root or place.name == "..")):
        raise TaskError(f"'{path}' lies outside of the folder that tools.filesystem may use (HIGHWAY_FILES_ROOT).")
    return real


@contextlib.contextmanager
def _told(path: str) -> Iterator[None]:
    """What the operating system refuses, in the words of the task."""
    try:
        yield
    except (OSError, shutil.Error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise TaskError(f"'{path}': {reason}.") from error


def _as_text(data: bytes, encoding: str, path: str) -> str:
    if encoding == _BASE64:
        return base64.b64encode(data).decode("ascii")
    try:
        return data.decode(encoding)
    except (LookupError, UnicodeError) as error:
        raise TaskError(f"'{path}' is not {encoding} text ({error}); encoding=base64 reads any file.") from error


def _as_bytes(content: Any, encoding: str, path: str) -> bytes:
    try:
        text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False, indent=2)
        data = base64.b64decode(text, validate=True) if encoding == _BASE64 else text.encode(encoding)
    except (LookupError, TypeError, ValueError) as error:
        raise TaskError(f"The content for '{path}' cannot be written as {encoding}: {error}.") from error
    limit = tool_settings().max_output_bytes
    if len(data) > limit:
        raise TaskError(f"The content for '{path}' is larger than {limit:,} bytes (HIGHWAY_MAX_OUTPUT_BYTES).")
    return data


def _write_whole(place: Path, data: bytes) -> None:
    beside = _beside(place)
    mode = stat.S_IMODE(place.stat().st_mode) if place.exists() else None
    try:
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if mode is not None:
            beside.chmod(mode)
        beside.replace(place)
    finally:
        beside.unlink(missing_ok=True)


def _copy_file(source: str, target: str) -> str:
    context = current_context()
    if context is not None:
        context.stop.check()
    if not Path(source).is_file():  # a pipe would never end
        raise TaskError(f"'{Path(source).name}' is not a file.")
    beside = _beside(Path(target))
    try:
        shutil.copy2(source, beside, follow_symlinks=False)
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)
    return target


def _beside(place: Path) -> Path:
    """A name in the same folder, for what is not finished yet."""
    return place.with_name(f".{place.name[:50]}.{uuid.uuid4().hex}")


def _check_target(origin: Path, place: Path, source: str, target: str, overwrite: bool) -> None:
    if not os.path.lexists(origin):
        raise TaskError(f"There is no '{source}'.")
    if place.exists() and not overwrite:
        raise TaskError(f"'{target}' is there already.")
    if place.is_relative_to(origin) or origin.is_relative_to(place):
        raise TaskError(f"'{source}' and '{target}' are the same or one is inside the other.")
    if place.is_dir() and not origin.is_dir():
        raise TaskError(f"'{target}' is a folder; name the file in it.")
    place.parent.mkdir(parents=True, exist_ok=True)


def _entry(place: Path, root: Path) -> Iterator[dict[str, Any]]:
    try:
        about = place.lstat()
    except FileNotFoundError:  # deleted meanwhile
        return
    yield {
        "name": place.name,
        "path": str(place.relative_to(root)),
        "type": _type(about.st_mode),
        "size": about.st_size,
        "modified": datetime.fromtimestamp(about.st_mtime, UTC).isoformat(),
    }


def _type(mode: int) -> str:
    if stat.S_ISREG(mode):
        return "file"
    return "folder" if stat.S_ISDIR(mode) else "other"
