"""What equality, order, truth and arithmetic mean for the values of a run. Conditions, switches and guards share it.

- **Equality** is strict about types: ``"5" == 5`` and ``true == 1`` do not hold; only int and float mix. One exception
  keeps flags usable that arrive as text (from a command line, from a shell): a text that spells true or false equals
  that boolean.
- **Order** exists between two numbers and between two texts; for anything else, null above all, asking is an error.
- **Truth** is Python's, but the texts ``false``, ``null`` and ``none`` (in any case) are as false as the words.
- **Arithmetic** is for numbers; ``+`` also joins two texts. There is no power and no repetition, whole numbers stop at
  1,024 bits and joined texts at a million characters: no expression grows without bound.

An operation that its operands do not fit raises ExpressionError with the rule; the caller adds the operands.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any, Final

from highway_core.engine.references import shorten
from highway_core.engine.templates import as_json
from highway_core.errors import ExpressionError

MAX_BITS: Final = 1024
MAX_JOINED: Final = 1_000_000

Binary = Callable[[Any, Any], Any]


def truth(value: Any) -> bool:
    """Whether ``value`` counts as true."""
    if isinstance(value, str) and len(value) <= 5:
        return value.lower() not in {"", "false", "null", "none"}
    return bool(value)


def equal(left: Any, right: Any) -> bool:
    """Whether two values are the same, types included."""
    if isinstance(left, bool) or isinstance(right, bool):
        return _as_flag(left) is _as_flag(right) and _as_flag(left) is not None
    try:
        return bool(left == right)
    except RecursionError as error:
        raise ExpressionError("values that are nested so deeply cannot be compared") from error


def _as_flag(value: Any) -> bool | None:
    if isinstance(value, str) and len(value) <= 5:
        return {"true": True, "false": False}.get(value.lower())
    return value if isinstance(value, bool) else None


def is_number(value: Any) -> bool:
    """A boolean is none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def contains(container: Any, item: Any) -> bool:
    """``item in container``: an element of a list, a part of a text, a key of a dict."""
    if isinstance(container, (list, tuple)):
        return any(equal(item, other) for other in container)
    if isinstance(container, str) and isinstance(item, str):
        return item in container
    if isinstance(container, Mapping) and isinstance(item, (str, int)):
        return item in container or str(item) in container
    raise ExpressionError("'in' looks for a value in a list, for a text in a text or for a key in a dict")


def length(value: Any) -> int:
    """Of a text, a list or a dict."""
    if isinstance(value, (str, list, tuple, Mapping)):
        return len(value)
    raise ExpressionError("only a text, a list or a dict has a length")


def negative(value: Any) -> Any:
    """A number with its sign turned."""
    return -positive(value)


def positive(value: Any) -> Any:
    """The number itself; no other value may stand behind a sign."""
    if not is_number(value):
        raise ExpressionError("a sign needs a number")
    return value


def _ordered(holds: Binary) -> Binary:
    def compare(left: Any, right: Any) -> bool:
        if (is_number(left) and is_number(right)) or (isinstance(left, str) and isinstance(right, str)):
            return bool(holds(left, right))
        raise ExpressionError("only two numbers or two texts have an order")

    return compare


def _computed(compute: Binary) -> Binary:
    def calculate(left: Any, right: Any) -> Any:
        if not is_number(left) or not is_number(right):
            raise ExpressionError("arithmetic needs two numbers")
        try:
            result = compute(left, right)
        except ArithmeticError as error:
            raise ExpressionError(str(error)) from error
        if isinstance(result, int) and result.bit_length() > MAX_BITS:
            raise ExpressionError(f"the result has more than {MAX_BITS:,} bits")
        return result

    return calculate


def _added(left: Any, right: Any) -> Any:
    if not isinstance(left, str) or not isinstance(right, str):
        return _add_numbers(left, right)
    if len(left) + len(right) > MAX_JOINED:
        raise ExpressionError(f"the joined text has more than {MAX_JOINED:,} characters")
    return left + right


_add_numbers: Final = _computed(operator.add)

COMPARISONS: Final[Mapping[str, Binary]] = {
    "==": equal,
    "!=": lambda left, right: not equal(left, right),
    "<": _ordered(operator.lt),
    "<=": _ordered(operator.le),
    ">": _ordered(operator.gt),
    ">=": _ordered(operator.ge),
    "in": lambda left, right: contains(right, left),
    "not in": lambda left, right: not contains(right, left),
}
ARITHMETIC: Final[Mapping[str, Binary]] = {
    "+": _added,
    "-": _computed(operator.sub),
    "*": _computed(operator.mul),
    "/": _computed(operator.truediv),
    "//": _computed(operator.floordiv),
    "%": _computed(operator.mod),
}


def shown(value: Any, limit: int = 80) -> str:
    """``value`` for a message: texts in quotes, everything else as JSON, cut."""
    if isinstance(value, str):
        return repr(shorten(value, limit))
    try:
        return shorten(as_json(value), limit)
    except ExpressionError:  # too deep to write: the message is about something else
        return f"a {type(value).__name__}"
