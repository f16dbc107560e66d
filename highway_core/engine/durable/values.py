"""Results as a run built from its rows has them: read when somebody refers to them.

A small result comes with its task's row and is parsed at its first use; a large one stays in the database until a
reference names it, so that building a run never loads what its tasks do not need.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from typing import Any

from highway_core.utils.json_values import loads

_UNREAD = object()


class StoredValue:
    """One result. The same object stands under its task's id and under its ``result_key``."""

    __slots__ = ("_fetch", "_text", "_value")

    def __init__(self, text: str | None, fetch: Callable[[], str]) -> None:
        self._text = text
        self._fetch = fetch
        self._value: Any = _UNREAD

    def read(self) -> Any:
        """The value; StorageError if it has to be fetched and cannot be."""
        if self._value is _UNREAD:
            self._value = loads(self._fetch() if self._text is None else self._text)
            self._text = None
        return self._value


class Values(MutableMapping[str, Any]):
    """Names and values, some of which are read only when they are asked for."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        held = self._held[name]
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
