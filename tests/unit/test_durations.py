"""Durations, waits and intervals: every form that documents use, and refusals that name the value."""

from datetime import UTC, date, datetime, time, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

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

DURATIONS = st.timedeltas(timedelta(0), MAX_DURATION)


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, 0),
        (5, 5),
        (1.5, 1.5),
        (-0.0, 0),
        ("0", 0),
        ("30", 30),
        ("10ms", 0.01),
        ("90s", 90),
        ("5m", 300),
        ("1.5h", 5400),
        ("1d", 86400),
        ("2w", 14 * 86400),
        ("1h30m", 5400),
        ("1w2d3h4m5s6ms", 9 * 86400 + 3 * 3600 + 4 * 60 + 5.006),
        ("2 h", 7200),
        (" 1h 30m ", 5400),
        ("duration:5", 5),
        ("duration:0.25", 0.25),
        ("duration:5m", 300),
        ("duration:1h30m", 5400),
        ("duration: 2 h", 7200),
        ("duration:PT5S", 5),
        ("P1DT2H3M4S", 86400 + 7384),
        ("PT120.0S", 120),
        ("PT0.5S", 0.5),
        ("PT0,5S", 0.5),
        ("PT86400S", 86400),
        ("PT1.5H", 5400),
        ("PT0S", 0),
        ("PT5M", 300),
        ("P2W", 14 * 86400),
        ("P1D", 86400),
    ],
)
def test_a_duration_is_understood_in_every_form_that_documents_use(value: Any, expected: float) -> None:
    assert parse_duration(value) == seconds(expected)


def test_a_year_is_365_days_because_the_dsl_writes_400_days_so() -> None:
    assert parse_duration("P1Y35D") == timedelta(days=400)
    assert parse_duration("P2Y70D") == timedelta(days=800)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "   ",
        "5sec",
        "5 seconds",
        "1:30",
        "1e3",
        "+5s",
        "-5s",
        "5M",
        "5H",
        "1y",
        "30m1h",
        "1h1h",
        "5m.",
        ".5s",
        "1_000s",
        "１s",
        "s",
        "duration:",
        "duration:5sec",
        "duration:-5",
        "duration:duration:5",
        "P",
        "PT",
        "P1DT",
        "P1H",
        "PT1D",
        "PT1H30",
        "p1d",
        "-P1D",
        "P-1D",
        "PT-5S",
        "PT1S garbage",
        "{{variables.delay}}",
        "x" * 10_000,
        "9" * 10_000,
        "9" * 99 + "s",
        True,
        False,
        None,
        [5],
        {"seconds": 5},
        -1,
        -0.001,
        float("nan"),
        float("inf"),
        float("-inf"),
        pytest.param(10**5000, id="huge"),
        pytest.param(-(10**5000), id="huge negative"),
        timedelta(days=-1),
        MAX_DURATION + timedelta(microseconds=1),
        "101w 40000d",
        36_526 * 86_400,
    ],
)
def test_what_is_no_duration_is_refused_and_never_zero(value: Any) -> None:
    with pytest.raises(ValueError, match="Accepted: a number of seconds, or 10ms, 90s"):
        parse_duration(value)


def test_a_refusal_names_the_value_and_the_reason() -> None:
    with pytest.raises(ValueError, match=r"^Cannot use '5sec': it is not a duration\."):
        parse_duration("5sec")
    with pytest.raises(ValueError, match="Cannot use -5: a duration cannot be negative"):
        parse_duration(-5)
    with pytest.raises(ValueError, match="longer than 100 years"):
        parse_duration("36526d")
    with pytest.raises(ValueError, match="Cannot use a huge number"):
        parse_duration(10**5000)
    with pytest.raises(ValueError, match="'P1M': a month has no fixed length"):
        parse_duration("P1M")


def test_a_refusal_shows_only_the_beginning_of_a_long_value() -> None:
    with pytest.raises(ValueError, match="Cannot use") as caught:
        parse_duration("z" * 100_000)
    assert len(str(caught.value)) < 300


@given(DURATIONS)
def test_a_timedelta_means_itself(duration: timedelta) -> None:
    assert parse_duration(duration) == duration


@given(DURATIONS)
def test_what_the_old_dsl_writes_comes_back_exactly(duration: timedelta) -> None:
    assert parse_duration(f"PT{duration.total_seconds():.6f}S") == duration
    assert parse_duration(f"duration:{duration.total_seconds():.6f}") == duration


@given(DURATIONS)
def test_an_iso_duration_comes_back_exactly(duration: timedelta) -> None:
    hours, rest = divmod(duration.seconds, 3600)
    text = f"P{duration.days}DT{hours}H{rest // 60}M{rest % 60}.{duration.microseconds:06d}S"
    assert parse_duration(text) == duration


@given(DURATIONS)
def test_units_come_back_exactly(duration: timedelta) -> None:
    text = f"{duration.days}d {duration.seconds}s {duration.microseconds / 1000:.3f}ms"
    assert parse_duration(text) == duration


@given(st.text(max_size=30) | st.text("0123456789.PTWDHMSmshdw: -", max_size=20))
def test_any_text_is_a_duration_from_zero_to_a_century_or_refused(text: str) -> None:
    try:
        duration = parse_duration(text)
    except ValueError as error:
        assert "Accepted:" in str(error)
    else:
        assert timedelta(0) <= duration <= MAX_DURATION
        assert any(character.isdigit() for character in text)


NOON = datetime(2030, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (5, Delay(seconds(5))),
        (2.5, Delay(seconds(2.5))),
        (timedelta(hours=1), Delay(seconds(3600))),
        ("PT5S", Delay(seconds(5))),
        ("duration:5m", Delay(seconds(300))),
        (NOON, Moment(NOON)),
        (NOON.replace(tzinfo=None), Moment(NOON)),
        (datetime(2030, 1, 31, 14, tzinfo=timezone(timedelta(hours=2))), Moment(NOON)),
        (date(2030, 1, 31), Moment(datetime(2030, 1, 31, tzinfo=UTC))),
        ("2030-01-31", Moment(datetime(2030, 1, 31, tzinfo=UTC))),
        ("2030-01-31T12:00:00", Moment(NOON)),
        ("2030-01-31 12:00", Moment(NOON)),
        ("2030-01-31T12:00:00Z", Moment(NOON)),
        ("2030-01-31 12:00:00 Z", Moment(NOON)),
        ("2030-01-31T14:00:00+02:00", Moment(NOON)),
        ("2030-01-31 14:00:00.000000 +02:00", Moment(NOON)),
        ("datetime:2030-01-31T12:00:00", Moment(NOON)),
        ("datetime: 2030-01-31 07:00:00-05:00", Moment(NOON)),
        ("time:09:30:15", TimeOfDay(time(9, 30, 15))),
        ("time:09:30", TimeOfDay(time(9, 30))),
        ("time: 9:30", TimeOfDay(time(9, 30))),
        ("time:23:59:59", TimeOfDay(time(23, 59, 59))),
        (time(9, 30), TimeOfDay(time(9, 30))),
        (time(9, 30, tzinfo=UTC), TimeOfDay(time(9, 30))),
    ],
)
def test_a_wait_is_a_delay_a_moment_or_a_time_of_day(value: Any, expected: Any) -> None:
    assert parse_wait(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        [],
        {},
        b"5s",
        "",
        "5sec",
        "1:30",
        "09:30:00",
        -5,
        "time:",
        "time:24:00",
        "time:09:60",
        "time:09:30:60",
        "time:9",
        "time:09:30:00.5",
        "time:-1:30",
        "datetime:",
        "datetime:tomorrow",
        "datetime:20300131",
        "2030-13-01",
        "2030-02-30T00:00:00",
        "2030-01-31x12:00",
        "2030-01-31T25:00:00",
        "2030-01-31T12:00:00+99:00",
        "2030-W05-4",
        "0001-01-01T00:00:00+23:00",
        "9999-12-31T23:59:59-23:00",
        datetime.max.replace(tzinfo=timezone(timedelta(hours=-5))),
        time(9, tzinfo=timezone(timedelta(hours=2))),
        "2030-01-31T" + "0" * 10_000,
    ],
)
def test_what_is_no_wait_is_refused_with_all_forms_of_a_wait(value: Any) -> None:
    with pytest.raises(ValueError, match=r"Cannot use .*Accepted: .*duration:5m, datetime:.*, time:09:30:00"):
        parse_wait(value)


@given(st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))])))
def test_a_datetime_survives_as_iso_text(moment: datetime) -> None:
    expected = Moment(moment.astimezone(UTC))
    for text in (moment.isoformat(), moment.isoformat(" "), f"datetime:{moment.isoformat()}"):
        try:
            assert parse_wait(text) == expected
        except ValueError as error:
            assert moment.year in (1, 9999), error


def test_a_delay_is_due_that_much_later() -> None:
    assert due(Delay(seconds(90)), NOON) == NOON + seconds(90)


def test_a_moment_is_due_at_that_moment_also_when_it_has_passed() -> None:
    past = datetime(2020, 1, 1, tzinfo=UTC)
    assert due(Moment(past), NOON) == past


@pytest.mark.parametrize(
    ("clock", "expected"),
    [
        (time(12, 0, 1), datetime(2030, 1, 31, 12, 0, 1, tzinfo=UTC)),
        (time(12), NOON),
        (time(11, 59, 59), datetime(2030, 2, 1, 11, 59, 59, tzinfo=UTC)),
    ],
)
def test_a_time_of_day_is_due_today_or_if_it_has_passed_tomorrow(clock: time, expected: datetime) -> None:
    assert due(TimeOfDay(clock), NOON) == expected


def test_a_time_of_day_is_utc_wherever_now_was_read() -> None:
    now = datetime(2030, 2, 1, 1, tzinfo=timezone(timedelta(hours=5)))  # 20:00 UTC on the day before
    assert due(TimeOfDay(time(21)), now) == datetime(2030, 1, 31, 21, tzinfo=UTC)


@given(st.timedeltas(timedelta(days=-9000), timedelta(days=9000)), st.times())
def test_a_time_of_day_is_due_within_a_day_and_not_in_the_past(distance: timedelta, clock: time) -> None:
    now = NOON + distance
    moment = due(TimeOfDay(clock), now)
    assert timedelta(0) <= moment - now < timedelta(days=1)
    assert moment.time() == clock


def test_now_must_be_aware() -> None:
    with pytest.raises(ValueError, match="must be aware"):
        due(Delay(seconds(1)), NOON.replace(tzinfo=None))


@pytest.mark.parametrize(
    ("text", "expected"), [("@every 1800s", 1800), ("@every 30m", 1800), (" @every  1h 30m ", 5400), ("@every 45", 45)]
)
def test_an_interval_is_read(text: str, expected: float) -> None:
    assert parse_interval(text) == seconds(expected)


@pytest.mark.parametrize("text", ["", "@every", "@every ", "every 5m", "@every 0s", "@every -5m", "* * * * *", None])
def test_what_is_no_interval_is_refused(text: Any) -> None:
    with pytest.raises(ValueError, match=r"Cannot use .*Accepted: @every 30m"):
        parse_interval(text)
