"""When a schedule fires: the hour changes, leap days, intervals, and that no slot comes twice or is left out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from highway_core.engine.cron_slots import first_slot, interval_before, missed_slots, parse_slots

_ANCHOR = datetime(2024, 1, 1, tzinfo=UTC)


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _some(expression: str, zone: str, after: str, amount: int) -> list[str]:
    slots = parse_slots(expression, zone, _ANCHOR)
    found, moment = [], _at(after)
    for _ in range(amount):
        following = slots.after(moment)
        assert following is not None
        moment = following
        found.append(moment.strftime("%m-%d %H:%M"))
    return found


@pytest.mark.parametrize(
    ("expression", "zone", "after", "expected"),
    [
        # Oslo: on 31 March 2024 02:00 becomes 03:00 (01:00 UTC); on 27 October 03:00 becomes 02:00 (01:00 UTC).
        ("30 2 * * *", "Europe/Oslo", "2024-03-30T12:00Z", ["03-31 01:00", "04-01 00:30"]),
        ("15,45 2 * * *", "Europe/Oslo", "2024-03-30T12:00Z", ["03-31 01:00", "04-01 00:15"]),
        ("0 2,3 * * *", "Europe/Oslo", "2024-03-30T12:00Z", ["03-31 01:00", "04-01 00:00"]),
        ("30 2 * * *", "Europe/Oslo", "2024-10-26T12:00Z", ["10-27 00:30", "10-28 01:30"]),
        ("30 2 * * *", "Europe/Oslo", "2024-10-27T01:10Z", ["10-28 01:30"]),  # asked in the second 02:10
        ("0 * * * *", "Europe/Oslo", "2024-10-26T23:30Z", ["10-27 00:00", "10-27 01:00", "10-27 02:00"]),
        ("0 * * * *", "Europe/Oslo", "2024-03-30T23:30Z", ["03-31 00:00", "03-31 01:00", "03-31 02:00"]),
        ("0 30 2 * * *", "Europe/Oslo", "2024-10-26T12:00Z", ["10-27 00:30", "10-28 01:30"]),  # with seconds
        # New York: on 10 March 2024 02:00 becomes 03:00 (07:00 UTC); on 3 November 02:00 becomes 01:00 (06:00 UTC).
        ("30 2 * * *", "America/New_York", "2024-03-09T12:00Z", ["03-10 07:00", "03-11 06:30"]),
        ("30 1 * * *", "America/New_York", "2024-11-02T12:00Z", ["11-03 05:30", "11-04 06:30"]),
        ("30 1 * * *", "America/New_York", "2024-11-03T06:10Z", ["11-04 06:30"]),
        ("*/20 1 * * *", "America/New_York", "2024-11-03T05:30Z", ["11-03 05:40", "11-03 06:00", "11-03 06:20"]),
        ("0 9 * * *", "America/New_York", "2024-03-09T00:00Z", ["03-09 14:00", "03-10 13:00"]),
        # Santiago turns the clock at midnight: 8 September 2024 begins at 01:00 (04:00 UTC).
        ("0 0 * * *", "America/Santiago", "2024-09-07T12:00Z", ["09-08 04:00", "09-09 03:00"]),
        ("0 12 29 2 *", "UTC", "2024-01-01T00:00Z", ["02-29 12:00", "02-29 12:00"]),
        ("0 0 L * *", "UTC", "2024-02-01T00:00Z", ["02-29 00:00", "03-31 00:00"]),
        ("0 6 * * 1-5", "UTC", "2024-03-01T12:00Z", ["03-04 06:00", "03-05 06:00"]),
        ("@daily", "Europe/Oslo", "2024-06-01T12:00Z", ["06-01 22:00", "06-02 22:00"]),
        ("@weekly", "UTC", "2024-03-01T12:00Z", ["03-03 00:00", "03-10 00:00"]),
        ("@every 30m", "UTC", "2024-03-01T12:10Z", ["03-01 12:30", "03-01 13:00"]),
        ("@every 36h", "UTC", "2024-01-01T00:00Z", ["01-02 12:00", "01-04 00:00"]),
    ],
)
def test_the_slots_of(expression: str, zone: str, after: str, expected: list[str]) -> None:
    assert _some(expression, zone, after, len(expected)) == expected


@pytest.mark.parametrize(
    ("expression", "zone", "moment", "expected"),
    [
        ("30 2 * * *", "Europe/Oslo", "2024-03-31T01:05Z", "03-31 01:00"),
        ("30 2 * * *", "Europe/Oslo", "2024-03-31T00:59Z", "03-30 01:30"),
        ("30 2 * * *", "Europe/Oslo", "2024-10-27T01:10Z", "10-27 00:30"),  # asked in the second 02:10
        ("30 2 * * *", "Europe/Oslo", "2024-10-27T00:29Z", "10-26 00:30"),
        ("* * * * *", "Europe/Oslo", "2024-10-27T01:10:30Z", "10-27 01:10"),
        ("0 0 29 2 *", "UTC", "2027-01-01T00:00Z", "02-29 00:00"),
        ("@every 30m", "UTC", "2024-03-01T12:29Z", "03-01 12:00"),
    ],
)
def test_the_last_slot_until(expression: str, zone: str, moment: str, expected: str) -> None:
    slot = parse_slots(expression, zone, _ANCHOR).until(_at(moment))
    assert slot is not None
    assert slot.strftime("%m-%d %H:%M") == expected


def test_a_day_that_never_comes_has_no_slot() -> None:
    assert parse_slots("0 0 * * 1#5", "UTC", _ANCHOR).after(_ANCHOR) is not None
    with pytest.raises(ValueError, match="day-of-month"):
        parse_slots("0 0 30 2 *", "UTC", _ANCHOR)


@pytest.mark.parametrize("expression", ["", "* * * *", "61 * * * *", "@sometimes", "@every", "@every 0s", "a b c d e"])
def test_what_is_no_schedule_is_refused(expression: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_slots(expression, "UTC", _ANCHOR)


@pytest.mark.parametrize("zone", ["", "Mars/Olympus", "../UTC", "Europe/"])
def test_an_unknown_time_zone_is_refused(zone: str) -> None:
    with pytest.raises(ValueError, match="unknown time zone"):
        parse_slots("@daily", zone, _ANCHOR)


_EXPRESSIONS = ["30 2 * * *", "*/15 * * * *", "0 */2 * * *", "0 0,1,2,3 * * *", "45 1 * * 0", "@hourly", "59 23 * * *"]
_ZONES = ["Europe/Oslo", "America/New_York", "America/Santiago", "Australia/Lord_Howe", "UTC", "Asia/Kathmandu"]


@given(
    expression=st.sampled_from([*_EXPRESSIONS, "@every 95m"]),
    zone=st.sampled_from(_ZONES),
    minutes=st.floats(0, 2 * 366 * 24 * 60),
    steps=st.integers(1, 30),
)
def test_no_slot_comes_twice_or_is_left_out(expression: str, zone: str, minutes: float, steps: int) -> None:
    slots = parse_slots(expression, zone, _ANCHOR)
    before = _ANCHOR + timedelta(minutes=minutes)
    for _ in range(steps):
        slot = slots.after(before)
        assert slot is not None
        assert slot > before
        middle = before + (slot - before) / 2
        assert slots.after(middle) == slot, "the same slot, whenever between the two one asks"
        assert slots.until(slot) == slot
        assert slots.until(slot - timedelta(microseconds=1)) == slots.until(before)
        before = slot


@given(
    zone=st.sampled_from(_ZONES),
    hour=st.integers(0, 23),
    minute=st.integers(0, 59),
    year=st.integers(2020, 2030),
)
def test_a_time_of_day_fires_once_on_every_day(zone: str, hour: int, minute: int, year: int) -> None:
    slots = parse_slots(f"{minute} {hour} * * *", zone, _ANCHOR)
    local = ZoneInfo(zone)
    moment = datetime(year, 1, 1, tzinfo=local).astimezone(UTC) - timedelta(microseconds=1)
    days = []
    while (moment := slots.after(moment) or moment).astimezone(local).year == year:
        days.append(moment.astimezone(local).date())
    assert len(days) == len(set(days)) == (366 if year % 4 == 0 else 365)


def test_a_schedule_without_a_start_begins_with_its_next_slot() -> None:
    slots = parse_slots("0 0 * * *", "UTC", _ANCHOR)
    assert first_slot(slots, None, _at("2024-05-05T10:00Z")) == _at("2024-05-06T00:00Z")


@pytest.mark.parametrize(
    ("start", "expected"),
    [("2024-05-01T00:00Z", "2024-05-02T00:00Z"), ("2024-05-01T00:01Z", "2024-05-03T00:00Z")],
)
def test_the_first_run_is_about_the_first_whole_interval_from_the_start(start: str, expected: str) -> None:
    slots = parse_slots("0 0 * * *", "UTC", _ANCHOR)
    assert first_slot(slots, _at(start), _at("2024-05-05T10:00Z")) == _at(expected)


def test_catching_up_makes_up_for_every_missed_slot_in_order_and_in_parts() -> None:
    slots = parse_slots("0 * * * *", "UTC", _ANCHOR)
    first, now = _at("2024-05-01T01:00Z"), _at("2024-05-01T04:30Z")
    due, following = missed_slots(slots, first, now, catchup=True, most=3)
    assert [slot.hour for slot in due] == [1, 2, 3]
    assert following == _at("2024-05-01T04:00Z")
    assert missed_slots(slots, following, now, catchup=True, most=3) == (
        [_at("2024-05-01T04:00Z")],
        _at("2024-05-01T05:00Z"),
    )


def test_without_catching_up_only_the_newest_missed_slot_is_made_up_for() -> None:
    slots = parse_slots("0 * * * *", "UTC", _ANCHOR)
    due, following = missed_slots(slots, _at("2023-05-01T01:00Z"), _at("2024-05-01T04:30Z"), catchup=False, most=3)
    assert due == [_at("2024-05-01T04:00Z")]
    assert following == _at("2024-05-01T05:00Z")


@pytest.mark.parametrize("catchup", [True, False])
def test_what_is_not_due_is_left_alone(catchup: bool) -> None:
    slots = parse_slots("0 * * * *", "UTC", _ANCHOR)
    first = _at("2024-05-01T05:00Z")
    assert missed_slots(slots, first, _at("2024-05-01T04:59Z"), catchup=catchup, most=3) == ([], first)


def test_a_run_is_about_the_interval_before_its_slot_however_long_that_was() -> None:
    slots = parse_slots("30 2 * * *", "Europe/Oslo", _ANCHOR)
    assert interval_before(slots, _at("2024-03-31T01:00Z")) == (_at("2024-03-30T01:30Z"), _at("2024-03-31T01:00Z"))
