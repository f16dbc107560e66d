"""``tools.memory.*``: the memory that belongs to a run.

All of them are transactional: the engine runs them on its deciding thread, inside the transaction that completes the
task, so an increment takes effect exactly once.
"""

from __future__ import annotations

import math
import re
import threading
from typing import Any

from highway_core.tools.context import RunState
from highway_core.tools.decorators import tool

_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?\s*", re.ASCII)
_MAX_DIGITS = 4000  # below the length at which Python refuses to turn text into an int

# For callers outside the engine, which may share one state between threads.
_LOCK = threading.Lock()


@tool("tools.memory.set", transactional=True)
def set_memory(state: RunState, key: str, value: Any) -> dict[str, Any]:
    """Remember ``value`` under ``key``."""
    with _LOCK:
        state.memory[key] = value
    return {"key": key, "status": "ok"}


@tool("tools.memory.get", transactional=True)
def get_memory(state: RunState, key: str, default: Any = None) -> Any:
    """What is remembered under ``key``, or ``default``."""
    return state.memory.get(key, default)


@tool("tools.memory.increment", transactional=True)
def increment_memory(state: RunState, key: str) -> dict[str, Any]:
    """Add one. What is missing or no number starts again at 0."""
    with _LOCK:
        new_value = (_number(state.memory.get(key)) or 0) + 1
        state.memory[key] = new_value
    return {"key": key, "new_value": new_value}


@tool("tools.memory.add", transactional=True)
def add_memory(state: RunState, key: str, value: Any) -> dict[str, Any]:
    """Add a number, numeric text, or a sum such as ``"3+2"``.

    What is missing or no number under ``key`` starts again at 0. A ``value`` that is no number changes nothing and
    answers with status ``error``.
    """
    with _LOCK:
        old_value = _number(state.memory.get(key)) or 0
        summand = _sum(value)
        new_value = None if summand is None else _finite_sum(old_value, summand)
        if new_value is None:
            return {"key": key, "status": "error"}
        state.memory[key] = new_value
    return {"key": key, "old_value": old_value, "new_value": new_value, "status": "ok"}


def _sum(value: Any) -> int | float | None:
    """The value as a number; text may be a sum of numbers. None if it is neither."""
    number = _number(value)
    if number is not None or not isinstance(value, str):
        return number
    total: int | float | None = 0
    for part in value.split("+"):
        summand = _number(part)
        total = None if summand is None or total is None else _finite_sum(total, summand)
    return total


def _number(value: Any) -> int | float | None:
    """A finite number, or text that is one; a bool is no number."""
    if isinstance(value, str):
        if not _NUMBER.fullmatch(value) or len(value) > _MAX_DIGITS:
            return None
        value = int(value) if value.strip().lstrip("+-").isdecimal() else float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if isinstance(value, int) or math.isfinite(value) else None


def _finite_sum(left: float, right: float) -> float | None:
    """None where the sum is beyond what a float, and so JSON, can hold."""
    try:
        total = left + right
    except OverflowError:
        return None
    return total if isinstance(total, int) or math.isfinite(total) else None
