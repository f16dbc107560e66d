"""Durations and waits as documents write them, turned into values; pure, and without a clock.

Three writers meet here: people (``90s``, ``1h30m``), the seeds (``duration:5m``, ``time:09:30:00``) and every release
of highway-dsl (``duration:5``, ``PT5.0S``, ``P1D``, ``datetime:…``). What none of them means is refused: a text that is
not understood must never become a wait of zero.

A year is 365 days, because pydantic, with which highway-dsl writes, spells ``timedelta(days=400)`` as ``P1Y35D``.
Nobody writes months that way, and they have no fixed length, so they are refused.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, assert_never

MAX_DURATION = timedelta(days=36_525)
"""A hundred years: nothing means more, and sums with a date must stay inside the calendar."""

DURATION_FORMS = "a number of seconds, or 10ms, 90s, 5m, 1.5h, 1d, 2w, 1h30m, PT5M, P1DT2H, duration:5m"
WAIT_FORMS = f"{DURATION_FORMS}, datetime:2030-01-31T09:30:00Z, time:09:30:00"

_INTERVAL_FORMS = "@every 30m, @every 1800s"
_UNKNOWN = "it is not a duration"
_LONGEST_TEXT = 100
_NUMBER = r"([0-9]+(?:\.[0-9]+)?)"
_ISO_NUMBER = r"([0-9]+(?:[.,][0-9]+)?)"
_DAY = 86_400.0
_SECONDS = re.compile(_NUMBER)
_UNITS = re.compile(r"\s*".join(rf"(?:{_NUMBER}\s*{unit})?" for unit in ("w", "d", "h", "m", "s", "ms")))
_UNIT_SECONDS = (7 * _DAY, _DAY, 3600.0, 60.0, 1.0, 0.001)
_ISO = re.compile(
    rf"P(?:{_ISO_NUMBER}Y)?(?:{_ISO_NUMBER}M)?(?:{_ISO_NUMBER}W)?(?:{_ISO_NUMBER}D)?"
    rf"(?:T(?=[0-9])(?:{_ISO_NUMBER}H)?(?:{_ISO_NUMBER}M)?(?:{_ISO_NUMBER}S)?)?"
)
_ISO_SECONDS = (365 * _DAY, 0.0, 7 * _DAY, _DAY, 3600.0, 60.0, 1.0)
_ISO_MONTHS = 1
_DATETIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ][0-9]{2}:[0-9]{2}\S*(?: ?(?:Z|[+-][0-9:]+))?)?")
_CLOCK = re.compile(r"([0-9]{1,2}):([0-9]{2})(?::([0-9]{2}))?")
_EVERY = re.compile(r"@every\s+(\S.*)")


@dataclass(frozen=True, slots=True)
class Delay:
    """Wait this long."""

    duration: timedelta


@dataclass(frozen=True, slots=True)
class Moment:
    """Wait until this moment (aware, UTC)."""

    moment: datetime


@dataclass(frozen=True, slots=True)
class TimeOfDay:
    """Wait until the clock (UTC) next shows this time."""

    time: time


WaitSpec = Delay | Moment | TimeOfDay


def parse_duration(value: str | int | float | timedelta) -> timedelta:
    """The duration that ``value`` means; a number is seconds, a text any of :data:`DURATION_FORMS`.

    ValueError names the value and shows the accepted forms.
    """
    try:
        return _duration(value)
    except _NotUnderstoodError as error:
        raise error.about(value, DURATION_FORMS) from None


def parse_wait(value: Any) -> WaitSpec:
    """What a ``wait_for`` means: a duration, a moment (naive = UTC) or a time of day.

    ValueError names the value and shows the accepted forms.
    """
    try:
        return _wait(value)
    except _NotUnderstoodError as error:
        raise error.about(value, WAIT_FORMS) from None


def parse_interval(text: str) -> timedelta:
    """The interval of a schedule such as ``@every 30m``; ValueError if it is not one, or not above zero."""
    try:
        return _interval(text)
    except _NotUnderstoodError as error:
        raise error.about(text, _INTERVAL_FORMS) from None


def due(spec: WaitSpec, now: datetime) -> datetime:
    """The moment (aware, UTC) at which a wait that begins at ``now`` (aware) is over; it may lie in the past."""
    if now.tzinfo is None:
        raise ValueError(f"'now' must be aware, not {now.isoformat()}")
    start = now.astimezone(UTC)
    match spec:
        case Delay(duration):
            return start + duration
        case Moment(moment):
            return moment
        case TimeOfDay(clock):
            today = datetime.combine(start.date(), clock, tzinfo=UTC)
            return today if today >= start else today + timedelta(days=1)
        case _:
            assert_never(spec)


class _NotUnderstoodError(Exception):
    """Why a text means nothing; the public functions add the value and what they accept."""

    def about(self, value: object, forms: str) -> ValueError:
        return ValueError(f"Cannot use {_shown(value)}: {self}. Accepted: {forms}.")


def _duration(value: object) -> timedelta:
    if isinstance(value, timedelta):
        _check_range(value.total_seconds())
        return value
    seconds = _text_seconds(value) if isinstance(value, str) else _number_seconds(value)
    _check_range(seconds)
    return timedelta(seconds=seconds)


def _wait(value: object) -> WaitSpec:
    match value:
        case datetime():
            return Moment(_utc(value))
        case date():
            return Moment(datetime.combine(value, time(), tzinfo=UTC))
        case time():
            return TimeOfDay(_utc_clock(value))
        case str():
            return _text_wait(value.strip())
        case _:
            return Delay(_duration(value))


def _text_wait(text: str) -> WaitSpec:
    if text.startswith("time:"):
        return TimeOfDay(_clock(text.removeprefix("time:").strip()))
    if text.startswith("datetime:"):
        return Moment(_moment(text.removeprefix("datetime:").strip()))
    if text[:4].isdecimal() and text[4:5] == "-":
        return Moment(_moment(text))
    return Delay(_duration(text))


def _interval(text: object) -> timedelta:
    match = _EVERY.fullmatch(text.strip()) if isinstance(text, str) and len(text) <= _LONGEST_TEXT else None
    if match is None:
        raise _NotUnderstoodError("it is not an interval")
    interval = _duration(match[1])
    if not interval:
        raise _NotUnderstoodError("an interval must be longer than zero")
    return interval


def _moment(text: str) -> datetime:
    # The pattern comes first because fromisoformat takes any character between date and time.
    if len(text) > _LONGEST_TEXT or not _DATETIME.fullmatch(text):
        raise _NotUnderstoodError("it is not an ISO 8601 date and time")
    try:
        moment = datetime.fromisoformat(text.replace(" Z", "Z").replace(" +", "+").replace(" -", "-"))
    except ValueError as error:
        raise _NotUnderstoodError(str(error)) from None
    return _utc(moment)


def _utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise _NotUnderstoodError("in UTC it lies outside the calendar") from None


def _clock(text: str) -> time:
    match = _CLOCK.fullmatch(text)
    hour, minute, second = (int(part or 0) for part in match.groups()) if match else (24, 0, 0)
    if hour > 23 or minute > 59 or second > 59:
        raise _NotUnderstoodError("a time of day is HH:MM or HH:MM:SS, up to 23:59:59")
    return time(hour, minute, second)


def _utc_clock(clock: time) -> time:
    if clock.tzinfo not in (None, UTC):
        raise _NotUnderstoodError("a time of day is UTC")
    return clock.replace(tzinfo=None)


def _text_seconds(text: str) -> float:
    text = text.strip().removeprefix("duration:").strip()
    if not text or len(text) > _LONGEST_TEXT:
        raise _NotUnderstoodError(_UNKNOWN)
    if text.startswith("P"):
        return _iso_seconds(text)
    if _SECONDS.fullmatch(text):
        return float(text)
    match = _UNITS.fullmatch(text)
    if match is None:
        raise _NotUnderstoodError(_UNKNOWN)
    return _total(match, _UNIT_SECONDS)


def _iso_seconds(text: str) -> float:
    match = _ISO.fullmatch(text)
    if match is None or not any(match.groups()):
        raise _NotUnderstoodError("it is not an ISO 8601 duration")
    if match.groups()[_ISO_MONTHS]:
        raise _NotUnderstoodError("a month has no fixed length, give days (and minutes stand behind a T: PT5M)")
    return _total(match, _ISO_SECONDS)


def _total(match: re.Match[str], units: tuple[float, ...]) -> float:
    parts = zip(match.groups(), units, strict=True)
    return math.fsum(float(number.replace(",", ".")) * seconds for number, seconds in parts if number)


def _number_seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _NotUnderstoodError(_UNKNOWN)
    try:
        seconds = float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
    if math.isnan(seconds):
        raise _NotUnderstoodError(_UNKNOWN)
    return seconds


def _check_range(seconds: float) -> None:
    if seconds < 0:
        raise _NotUnderstoodError("a duration cannot be negative")
    if seconds > MAX_DURATION.total_seconds():
        raise _NotUnderstoodError("it is longer than 100 years")


def _shown(value: object) -> str:
    if isinstance(value, int) and value.bit_length() > 256:  # repr() of a huge one raises
        return "a huge number"
    text = repr(value[:61]) if isinstance(value, str) else repr(value)
    return text if len(text) <= 63 else f"{text[:60]}…"
