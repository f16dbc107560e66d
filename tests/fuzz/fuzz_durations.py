"""Fuzz durations, waits and intervals: a value in range or a ValueError that shows the forms.

python tests/fuzz/fuzz_durations.py -max_total_time=60        (needs the extra "fuzz")
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import atheris

with atheris.instrument_imports(include=["highway_core"]):
    from highway_core.utils.durations import (
        MAX_DURATION,
        Delay,
        Moment,
        TimeOfDay,
        due,
        parse_duration,
        parse_interval,
        parse_wait,
    )

PIECES = (
    "P", "T", "Y", "M", "W", "D", "H", "S", "w", "d", "h", "m", "s", "ms", "0", "1", "12", "59", "2030", "-",
    "+", ".", ",", ":", " ", "e3", "Z", "duration:", "datetime:", "time:", "@every ", "2030-01-31", "T12:00:00",
    "23:59", "0001-01-01", "9999-12-31", "+14:00", "-23:59", "nan", "inf", "sec", "9" * 40, "½", "１", "\n",
)  # fmt: skip
_T = TypeVar("_T")
NOW = datetime(2030, 1, 31, 12, tzinfo=UTC)


def one_input(data: bytes) -> None:
    provider = atheris.FuzzedDataProvider(data)
    value: str | int | float
    kind = provider.ConsumeIntInRange(0, 3)
    if kind == 0:
        value = provider.ConsumeUnicode(200)
    elif kind == 1:
        value = provider.ConsumeFloat()
    elif kind == 2:
        value = provider.ConsumeInt(40)
    else:
        value = "".join(provider.PickValueInList(list(PIECES)) for _ in range(provider.ConsumeIntInRange(0, 12)))
    check_duration(value)
    check_wait(value)
    if isinstance(value, str):
        interval = parsed(parse_interval, value)
        assert interval is None or timedelta(0) < interval <= MAX_DURATION


def parsed(parse: Callable[[str | int | float], _T], value: str | int | float) -> _T | None:
    try:
        return parse(value)
    except ValueError as error:
        text = str(error)
        assert text.startswith("Cannot use "), text
        assert "Accepted: " in text
        assert len(text) < 500
        return None


def check_duration(value: str | int | float) -> None:
    duration = parsed(parse_duration, value)
    if duration is None:
        return
    assert timedelta(0) <= duration <= MAX_DURATION
    assert parse_duration(duration) == duration
    if isinstance(value, str):
        assert any(character in "0123456789" for character in value), "a text without a digit is no duration"
        if duration >= timedelta(milliseconds=1):
            assert any(character in "123456789" for character in value)
        assert parse_wait(value) == Delay(duration)


def check_wait(value: str | int | float) -> None:
    spec = parsed(parse_wait, value)
    if spec is None:
        return
    moment = due(spec, NOW)
    assert moment.tzinfo is UTC
    if isinstance(spec, TimeOfDay):
        assert timedelta(0) <= moment - NOW < timedelta(days=1)
    elif isinstance(spec, Moment):
        assert moment == spec.moment
    else:
        assert moment - NOW == spec.duration


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
