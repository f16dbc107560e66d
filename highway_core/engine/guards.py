"""Guards: the checks that a task's preconditions and postconditions make on single values.

``variable`` is a template (``{{flight_number}}``) or a bare path; ``value`` may hold references. A value that is
missing fails every check, with those words. ``equals``, ``in_set`` and ``in_range`` follow the rules of conditions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final, Protocol

from highway_core.engine.expression_values import COMPARISONS, equal, is_number, shown
from highway_core.engine.guard_regex import matches
from highway_core.engine.references import MISSING, Lookup, parse_reference
from highway_core.engine.templates import CompiledValue, as_text, compile_value
from highway_core.errors import ExpressionError, UnknownReferenceError


class GuardLike(Protocol):
    """What a guard of a document offers."""

    @property
    def variable(self) -> str: ...
    @property
    def check(self) -> str: ...
    @property
    def value(self) -> Any: ...
    @property
    def message(self) -> str: ...


def check_guard(guard: GuardLike, lookup: Lookup) -> str | None:
    """None if the guard holds, else why not, ending with the guard's own message.

    ExpressionError if the guard itself makes no sense: an unknown check, a range that is none, a broken pattern.
    """
    check = _CHECKS.get(guard.check)
    if check is None:
        raise ExpressionError(f"There is no check '{guard.check}'; there are {', '.join(sorted(_CHECKS))}.")
    target = _compiled_variable(guard.variable)
    try:
        value = target.resolve(lookup)
    except UnknownReferenceError:
        value = MISSING
    wanted = compile_value(guard.value)
    expected = wanted.resolve(lookup)
    if value is not MISSING and check(value, expected):
        return None
    seen = "missing" if value is MISSING else _seen(target, value)
    condition = guard.check if guard.check in {"exists", "not_null"} else f"{guard.check} {_seen(wanted, expected)}"
    text = f"Guard on {guard.variable}: expected {condition}, found {seen}."
    return f"{text} {guard.message}" if guard.message else text


def _seen(compiled: CompiledValue, value: Any) -> str:
    return "hidden" if any(reference.secret for reference in compiled.references) else shown(value)


@lru_cache(maxsize=1024)
def _compiled_variable(variable: str) -> CompiledValue:
    text = variable if "{{" in variable else str(parse_reference(variable.strip()))
    return compile_value(text)


def _in_range(value: Any, limits: Any) -> bool:
    if not isinstance(limits, list) or len(limits) != 2:
        raise ExpressionError(f"in_range needs [lowest, highest], where null is open; it has {shown(limits)}.")
    low, high = limits
    return value is not None and (low is None or _at_most(low, value)) and (high is None or _at_most(value, high))


def _at_most(left: Any, right: Any) -> bool:
    """What has no order is in no range."""
    try:
        return bool(COMPARISONS["<="](left, right))
    except ExpressionError:
        return False


def _in_set(value: Any, members: Any) -> bool:
    if not isinstance(members, list):
        raise ExpressionError(f"in_set needs a list; it has {shown(members)}.")
    return any(equal(value, member) for member in members)


def _matches_regex(value: Any, pattern: Any) -> bool:
    if not isinstance(pattern, str):
        raise ExpressionError(f"matches_regex needs a pattern; it has {shown(pattern)}.")
    return not isinstance(value, (dict, list)) and value is not None and matches(pattern, as_text(value))


def _is_type(value: Any, name: Any) -> bool:
    kind = _TYPES.get(str(name).lower())
    if kind is None:
        raise ExpressionError(f"type_check knows {', '.join(sorted(_TYPES))}; it has {shown(name)}.")
    return kind(value)


def _is_integer(value: Any) -> bool:
    return is_number(value) and isinstance(value, int)


_TYPES: Final[Mapping[str, Callable[[Any], bool]]] = {
    "str": lambda value: isinstance(value, str),
    "string": lambda value: isinstance(value, str),
    "int": _is_integer,
    "integer": _is_integer,
    "float": is_number,
    "number": is_number,
    "bool": lambda value: isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "list": lambda value: isinstance(value, (list, tuple)),
    "array": lambda value: isinstance(value, (list, tuple)),
    "dict": lambda value: isinstance(value, Mapping),
    "object": lambda value: isinstance(value, Mapping),
    "none": lambda value: value is None,
    "null": lambda value: value is None,
}
"""A whole number is a float here too: JSON writes 5.0 as 5 when it likes."""

_CHECKS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "exists": lambda _value, _expected: True,
    "not_null": lambda value, _expected: value is not None,
    "equals": equal,
    "not_equals": lambda value, expected: not equal(value, expected),
    "in_range": _in_range,
    "matches_regex": _matches_regex,
    "type_check": _is_type,
    "in_set": _in_set,
}
