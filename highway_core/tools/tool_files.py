"""The user's own tools: every ``*.py`` file of a folder, but those whose name starts with ``_``.

The folder becomes a package, so that its files may import each other (``from ._helpers import …``).
"""

from __future__ import annotations

import sys
from importlib import import_module, invalidate_caches
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec
from pathlib import Path
from types import TracebackType
from zlib import crc32

from highway_core.errors import ConfigError


def load_tools_dir(folder: Path) -> None:
    """Import every tool file of ``folder``, in order of name, once per process; ConfigError names what failed."""
    folder = folder.resolve()
    if not folder.is_dir():
        raise ConfigError(f"HIGHWAY_TOOLS_DIR={str(folder)!r} is not a folder.")
    package = _package(folder)
    invalidate_caches()  # the folder may have been listed a moment ago, before a file was put there
    for path in sorted(folder.glob("*.py")):
        if path.name.startswith("_"):
            continue
        if not path.stem.isidentifier():
            raise ConfigError(f"{path}: a tool file needs a name that Python can import, such as my_tools.py.")
        with naming_the_culprit(f"tool file {path}", path):
            import_module(f"{package}.{path.stem}")


def _package(folder: Path) -> str:
    """A package whose modules are the files of ``folder``; its name is the folder's alone."""
    name = f"highway_tools_dir_{crc32(str(folder).encode()):08x}"
    if name not in sys.modules:
        spec = ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = [str(folder)]
        sys.modules[name] = module_from_spec(spec)
    return name


class naming_the_culprit:  # noqa: N801 - reads as the verb it is: with naming_the_culprit(…)
    """Turn whatever an import of foreign code raises into a ConfigError with file, line and the error itself."""

    def __init__(self, what: str, path: Path | None = None) -> None:
        self._what = what
        self._path = path

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Exception | SystemExit) and not isinstance(error, ConfigError):
            said = f"{type(error).__name__}: {error}"
            raise ConfigError(f"Cannot load {self._what}{self._line(error, trace)}: {said}") from error

    def _line(self, error: BaseException, trace: TracebackType | None) -> str:
        """``, line n``: the deepest line of the file itself; of another file, with that file's name."""
        if isinstance(error, SyntaxError):
            place = (error.filename or "", error.lineno or 0)
        else:
            place = self._deepest_line(trace)
        if not place[1]:
            return ""
        same = self._path is not None and Path(place[0]) == self._path
        return f", line {place[1]}" if same else f", {place[0]}, line {place[1]}"

    def _deepest_line(self, trace: TracebackType | None) -> tuple[str, int]:
        own = last = ("", 0)
        while trace is not None:
            filename = trace.tb_frame.f_code.co_filename
            if not filename.startswith("<frozen "):
                last = (filename, trace.tb_lineno)
                if self._path is not None and Path(filename) == self._path:
                    own = last
            trace = trace.tb_next
        return own if own[1] else last
