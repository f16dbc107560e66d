"""The slots of a schedule: the moments at which it fires. Pure: the present is handed in, and every answer is in UTC.

A cron expression is read on the wall clock of its time zone. Where the clock is turned on, a slot that names its hour
and minute and falls into the gap fires once, when the gap is over; where it is turned back, such a slot fires at the
first of the two moments only. A slot of every hour or every minute follows real time: the hour that comes twice has
its slots twice, the hour that is left out has none. ``@every`` counts seconds from an anchor and knows no time zone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Protocol
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from highway_core.utils.durations import parse_interval

ALIASES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_ANY_MOMENT = datetime(2024, 1, 1, tzinfo=UTC)
_TICK = timedelta(microseconds=1)
_LONGEST_FOLD = timedelta(hours=24)
"""No clock was ever turned back by more."""


class Slots(Protocol):
    """When a schedule fires."""

    def after(self, moment: datetime) -> datetime | None:
        """The first slot that is later than ``moment``; None if there is none in fifty years."""
        ...

    def until(self, moment: datetime) -> datetime | None:
        """The last slot that is not later than ``moment``."""
        ...


def parse_slots(expression: str, timezone: str, anchor: datetime) -> Slots:
    """The slots of an expression; ValueError if it, or the time zone, cannot be used. ``anchor`` is for ``@every``."""
    zone = _zone(timezone)  # also of intervals: their runs are told the day in it
    if expression.lstrip().startswith("@every"):
        return _Every(parse_interval(expression), anchor.astimezone(UTC))
    return _Cron(_cron(expression), zone)


def check_expression(expression: str) -> None:
    """ValueError, unless it is a cron expression, one of :data:`ALIASES` or an interval."""
    parse_slots(expression, "UTC", _ANY_MOMENT)


def first_slot(slots: Slots, start: datetime | None, now: datetime) -> datetime | None:
    """Of a new schedule: the next slot, or the one at the end of the first whole interval from ``start``."""
    if start is None:
        return slots.after(now)
    begin = slots.after(start - _TICK)
    return None if begin is None else slots.after(begin)


def missed_slots(
    slots: Slots, first: datetime, now: datetime, *, catchup: bool, most: int
) -> tuple[list[datetime], datetime | None]:
    """The slots from ``first`` on that are to be made up for at ``now``, at most so many; and the one that comes next.

    Without ``catchup`` only the newest of them.
    """
    if not catchup:
        first = max(first, slots.until(now) or first)
    due: list[datetime] = []
    following: datetime | None = first
    while following is not None and following <= now and len(due) < most:
        due.append(following)
        following = slots.after(following)
    return due, following


def interval_before(slots: Slots, slot: datetime) -> tuple[datetime, datetime]:
    """From the slot before to this one: what a run of this slot is about."""
    return slots.until(slot - _TICK) or slot, slot


@dataclass(frozen=True, slots=True)
class _Every:
    interval: timedelta
    anchor: datetime

    def after(self, moment: datetime) -> datetime | None:
        return self.anchor + ((moment - self.anchor) // self.interval + 1) * self.interval

    def until(self, moment: datetime) -> datetime | None:
        return self.anchor + (moment - self.anchor) // self.interval * self.interval


@dataclass(frozen=True, slots=True)
class _Cron:
    expression: str
    zone: ZoneInfo

    def after(self, moment: datetime) -> datetime | None:
        # cronsim reads a time that comes twice as the first one, so in the second one its answer may be in the past.
        ticks = self._ticks(moment, reverse=False)
        return next((slot for slot in ticks if slot > moment), None)

    def until(self, moment: datetime) -> datetime | None:
        local = moment.astimezone(self.zone)
        start = moment + _LONGEST_FOLD if local.fold else moment + timedelta(seconds=1)
        return next((slot for slot in self._ticks(start, reverse=True) if slot <= moment), None)

    def _ticks(self, moment: datetime, *, reverse: bool) -> Iterator[datetime]:
        local = moment.astimezone(self.zone)
        zone_or_utc = local.replace(tzinfo=UTC) if self.zone.key == "UTC" else local
        for tick in CronSim(self.expression, zone_or_utc, reverse=reverse):
            yield tick.astimezone(UTC)


@lru_cache(maxsize=256)
def _cron(text: str) -> str:
    expression = ALIASES.get(text.strip(), text.strip())
    fields = expression.split()
    if len(fields) == 6 and fields[0] == "0":
        expression = " ".join(
            fields[1:]
        )  # the same slots; only of five fields cronsim knows the rules of the hour change
    try:
        CronSim(expression, _ANY_MOMENT)
    except CronSimError as error:
        raise ValueError(str(error)) from error
    return expression


@lru_cache(maxsize=256)
def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (OSError, ValueError) as error:  # ZoneInfoNotFoundError is a KeyError
        raise ValueError(f"unknown time zone {name!r}") from error
    except KeyError:
        raise ValueError(
            f"unknown time zone {name!r}; names are those of the IANA database, as in Europe/Oslo"
        ) from None
