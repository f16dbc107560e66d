"""Results as a durable run has them: read when somebody refers to them.

A small result is there, or comes with its task's row and is parsed at its first use. A large one is in the database as
soon as it is stored, and read back when a reference names it, so that a run never holds what its tasks do not need. The
large results that were used last are kept, for those who need them next.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, MutableMapping
from typing import Any

from highway_core.utils.json_values import loads

_UNREAD: Any = object()
_MOST_KEPT = 32_000_000
"""About how many bytes of large results are kept, but for what one alone takes."""
_PIECE = 60
"""About how many bytes a value takes for each item of a list, or key or value of an object, beside its text."""


class StoredValue:
    """One result. The same object stands under its task's id and under its ``result_key``."""

    __slots__ = ("_text", "_value")

    def __init__(self, text: str | None, value: Any = _UNREAD) -> None:
        self._text = text
        self._value = value

    def read(self) -> Any:
        """The value; StorageError if it has to be fetched and cannot be. Any thread may call it."""
        value, text = self._value, self._text
        if value is _UNREAD and text is not None:
            value = self._value = loads(text)
        return value


class LargeValue(StoredValue):
    """A result that is too large to be kept by its run once it is stored."""

    __slots__ = ("_path", "_results", "_run_id")

    def __init__(self, results: LargeResults, run_id: str, path: str, value: Any = _UNREAD) -> None:
        super().__init__(None, value)
        self._results = results
        self._run_id = run_id
        self._path = path

    def read(self) -> Any:
        value = self._value
        if value is _UNREAD:
            text = self._results.fetch(self._run_id, self._path)
            value = self._value = loads(text)
            self._results.keep(self, text)
        else:
            self._results.used(self)
        return value

    def stored(self, text: str) -> None:
        """It is in the database, as ``text``: from now on it may be let go."""
        self._results.keep(self, text)

    def let_go(self) -> None:
        """Whoever needs it next reads it again."""
        self._value = _UNREAD


class LargeResults:
    """The large results that the images of a process have in memory. Thread-safe."""

    def __init__(self, fetch: Callable[[str, str], str], most: int = _MOST_KEPT) -> None:
        self.fetch = fetch
        """Reads the result of a task of a run, as JSON text."""
        self._most = most
        self._lock = threading.Lock()
        self._kept: OrderedDict[LargeValue, int] = OrderedDict()
        """What each takes; the one that was used last stands last."""
        self._size = 0

    def keep(self, value: LargeValue, text: str) -> None:
        """Keep it, and let go of those that were used longest ago for it."""
        weight = len(text) + _PIECE * (text.count(",") + text.count(":"))
        with self._lock:
            self._size += weight - self._kept.pop(value, 0)
            self._kept[value] = weight
            while self._size > self._most and len(self._kept) > 1:
                oldest, weight = self._kept.popitem(last=False)
                self._size -= weight
                oldest.let_go()

    def used(self, value: LargeValue) -> None:
        """Somebody has just needed it."""
        with self._lock:
            if value in self._kept:
                self._kept.move_to_end(value)


class Values(MutableMapping[str, Any]):
    """Names and values, some of which are read only when they are asked for."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        held = self._held[name]
        return held.read() if isinstance(held, StoredValue) else held

    def peek(self, name: str) -> Any:
        """What stands there, None if nothing does; a large result is not read for that."""
        held = self._held.get(name)
        return held.read() if type(held) is StoredValue else held

    def __setitem__(self, name: str, value: Any) -> None:
        self._held[name] = value

    def __delitem__(self, name: str) -> None:
        del self._held[name]

    def __contains__(self, name: object) -> bool:
        return name in self._held

    def __iter__(self) -> Iterator[str]:
        return iter(self._held)

    def __len__(self) -> int:
        return len(self._held)
