"""What stands between the braces: :class:`Reference`, a path such as ``report.id`` or ``users[0]["first name"]``.

A path is names (word characters and hyphens, blanks inside) divided by dots, list indexes as ``.0`` or ``[0]``
(``[-1]`` is the last), and quoted keys in brackets. It walks dicts and lists and nothing else: there is no attribute
access, so no path leads out of the data.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final, Protocol

from highway_core.errors import ExpressionError

SUPPORTED = (
    'Braces hold one path, as in {{report.id}}, {{users.0.name}}, {{users[0]["first name"]}} or {{users.length}}; '
    'no filters and no operators. Literal braces are written {{ "{{" }}.'
)

_NAME = r"[\w-]++(?:\x20++[\w-]++)*+"
_STEP = rf"""\s*+\.\s*+{_NAME}|\s*+\[\s*+(?:-?[0-9]{{1,18}}|"[^"]*+"|'[^']*+')\s*+\]"""
MARKER: Final = re.compile(rf"""\{{\{{\s*+(?:(?P<path>{_NAME}(?:{_STEP})*+)|"[^"]*+"|'[^']*+')\s*+\}}\}}""")
"""One whole ``{{…}}``. Possessive throughout, so that no text makes it backtrack."""
_STEPS: Final = re.compile(
    rf"""\s*\.\s*(?P<name>{_NAME})|\s*\[\s*(?:(?P<index>-?[0-9]+)|"(?P<k1>.*?)"|'(?P<k2>.*?)')\s*\]""", re.S
)
_FIRST: Final = re.compile(_NAME)
_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,17}", re.ASCII)


class Missing:
    """The type of :data:`MISSING`, which says "nothing is there" where null is a value."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = Missing()


@dataclass(frozen=True, slots=True)
class Reference:
    """One path. ``text`` is the path as written, without the braces; ``str()`` puts them on."""

    path: tuple[str | int, ...]
    text: str

    def __str__(self) -> str:
        return f"{{{{{self.text}}}}}"

    @property
    def root(self) -> str:
        """The first name of the path."""
        return str(self.path[0])

    @property
    def secret(self) -> bool:
        """True when the value must not appear in a message."""
        return self.path[0] == "secrets"


class Lookup(Protocol):
    """Where references get their values."""

    def find(self, reference: Reference) -> Any:
        """The value itself, not a copy; MISSING where there is none. Conditions read that as null."""
        ...

    def lookup(self, reference: Reference) -> Any:
        """The value itself; UnknownReferenceError where there is none."""
        ...

    def context(self) -> Mapping[str, Any]:
        """Everything that can be seen, by name, for an expression language that looks up by itself (CEL)."""
        ...


def parse_reference(text: str) -> Reference:
    """The reference that ``text``, a path without braces, spells; ExpressionError if it spells none."""
    found = MARKER.fullmatch(f"{{{{{text}}}}}")
    if found is None or found["path"] is None:
        raise ExpressionError(f"{shorten(text)!r} is not a path. {SUPPORTED}")
    return reference_of(found["path"])


def reference_of(path: str) -> Reference:
    """The reference spelled by a ``path`` that MARKER has accepted."""
    first = _FIRST.match(path)
    assert first is not None  # noqa: S101 - MARKER accepted it
    steps: list[str | int] = [first[0]]
    for step in _STEPS.finditer(path, first.end()):
        if step["name"] is not None:
            name = step["name"]
            steps.append(int(name) if _INDEX.fullmatch(name) else name)
        elif step["index"] is not None:
            steps.append(int(step["index"]))
        else:
            steps.append(step["k1"] if step["k1"] is not None else step["k2"])
    return Reference(tuple(steps), path)


def walk(value: Any, path: tuple[str | int, ...], start: int) -> Any:
    """What ``path[start:]`` leads to from ``value``, or MISSING."""
    last = len(path) - 1
    for position in range(start, last + 1):
        step = path[position]
        found: Any = MISSING
        if isinstance(value, (list, tuple)):
            if type(step) is int and -len(value) <= step < len(value):
                found = value[step]
        elif isinstance(value, (dict, Mapping)):
            found = value.get(step, MISSING)
            if found is MISSING and type(step) is int:
                found = value.get(str(step), MISSING)
        if found is MISSING:
            countable = step == "length" and position == last and isinstance(value, (str, list, tuple, dict))
            return len(value) if countable else MISSING
        value = found
    return value


def explain_missing_step(value: Any, path: tuple[str | int, ...], start: int) -> str:
    """A sentence on the first step of ``path[start:]`` that ``value`` does not have."""
    so_far = ".".join(str(step) for step in path[:start])
    for position in range(start, len(path)):
        step = path[position]
        found = walk(value, path[: position + 1], position)
        if found is MISSING:
            return f"'{so_far}' {_what_it_has(value, step)}"
        value = found
        so_far = f"{so_far}.{step}"
    return f"'{so_far}' has no value"


def _what_it_has(value: Any, step: str | int) -> str:
    if isinstance(value, Mapping):
        names = [str(key) for key in value]
        return f"has no '{step}'{did_you_mean(str(step), names)}; it has {listed(names)}"
    if isinstance(value, (list, tuple)):
        return f"is a list of {len(value)} and has no '{step}'"
    return f"is {_kind(value)} and has no '{step}'"


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    names = {bool: "a boolean", int: "a number", float: "a number", str: "a text"}
    return names.get(type(value), f"of type {type(value).__name__}")


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """``" (did you mean 'report'?)"``, or nothing where no name is near."""
    near = get_close_matches(name[:100], [other for other in names if len(other) <= 100][:1000], n=1)
    return f" (did you mean '{near[0]}'?)" if near else ""


def listed(names: Iterable[str], limit: int = 20) -> str:
    """The names in a row, ``nothing`` for none, cut after ``limit``."""
    row = sorted(shorten(name, 60) for name in names)
    if not row:
        return "nothing"
    more = f" and {len(row) - limit} more" if len(row) > limit else ""
    return ", ".join(row[:limit]) + more


def shorten(text: str, limit: int = 80) -> str:
    """``text``, cut with an ellipsis so that a message stays readable."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
