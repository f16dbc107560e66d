"""Guards: what each check holds for, what it says when it does not, and that no pattern makes it hang."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import pytest

from highway_core.engine import guard_regex
from highway_core.engine.data import DataView
from highway_core.engine.guard_regex import matches
from highway_core.engine.guards import check_guard
from highway_core.errors import ExpressionError

DATA: dict[str, Any] = {
    "flight": "LH 1234",
    "seats": 180,
    "price": 99.5,
    "full": False,
    "gate": None,
    "legs": ["FRA", "JFK"],
    "crew": {"pilot": "ann"},
    "limits": [1, 200],
}


@dataclass
class Guard:
    variable: str
    check: str
    value: Any = None
    message: str = ""


def outcome(variable: str, check: str, value: Any = None, message: str = "") -> str | None:
    lookup = DataView(DATA, {}, {}, {}, {}, extras={"result": {"ok": True}}, secret=lambda name: "hunter2")
    return check_guard(Guard(variable, check, value, message), lookup)


@pytest.mark.parametrize(
    ("variable", "check", "value"),
    [
        ("{{flight}}", "exists", None),
        ("{{gate}}", "exists", None),
        ("flight", "not_null", None),
        ("crew.pilot", "equals", "ann"),
        ("{{result.ok}}", "equals", True),
        ("{{full}}", "equals", "false"),
        ("{{seats}}", "equals", 180.0),
        ("{{crew}}", "equals", {"pilot": "ann"}),
        ("{{seats}}", "not_equals", "180"),
        ("{{seats}}", "in_range", [180, 180]),
        ("{{seats}}", "in_range", [None, 200]),
        ("{{seats}}", "in_range", [1, None]),
        ("{{seats}}", "in_range", "{{limits}}"),
        ("{{flight}}", "in_range", ["A", "M"]),
        ("{{flight}}", "matches_regex", r"^[A-Z]{2} ?\d{1,4}$"),
        ("{{seats}}", "matches_regex", r"\d+$"),
        ("{{legs[0]}}-{{legs[1]}}", "matches_regex", "FRA-JFK"),
        ("{{flight}}", "type_check", "str"),
        ("{{seats}}", "type_check", "int"),
        ("{{seats}}", "type_check", "float"),
        ("{{price}}", "type_check", "number"),
        ("{{full}}", "type_check", "Boolean"),
        ("{{legs}}", "type_check", "list"),
        ("{{crew}}", "type_check", "dict"),
        ("{{gate}}", "type_check", "null"),
        ("{{seats}}", "in_set", [1, 180]),
        ("{{flight}}", "in_set", ["{{flight}}"]),
    ],
)
def test_holds(variable: str, check: str, value: Any) -> None:
    assert outcome(variable, check, value) is None


@pytest.mark.parametrize(
    ("variable", "check", "value", "text"),
    [
        ("{{nope}}", "exists", None, "Guard on {{nope}}: expected exists, found missing."),
        ("{{crew.nope}}", "not_equals", 1, "Guard on {{crew.nope}}: expected not_equals 1, found missing."),
        ("{{gate}}", "not_null", None, "Guard on {{gate}}: expected not_null, found null."),
        ("{{seats}}", "equals", "180", "Guard on {{seats}}: expected equals '180', found 180."),
        ("{{full}}", "equals", 0, "Guard on {{full}}: expected equals 0, found false."),
        ("{{seats}}", "not_equals", 180, "Guard on {{seats}}: expected not_equals 180, found 180."),
        ("{{seats}}", "in_range", [181, 200], "Guard on {{seats}}: expected in_range [181, 200], found 180."),
        ("{{flight}}", "in_range", [1, 2], "found 'LH 1234'."),
        ("{{gate}}", "in_range", [None, None], "found null."),
        ("{{full}}", "in_range", [0, 1], "found false."),
        ("{{flight}}", "matches_regex", "1234", "found 'LH 1234'."),
        ("{{gate}}", "matches_regex", ".*", "found null."),
        ("{{crew}}", "matches_regex", ".*", 'found {"pilot": "ann"}.'),
        ("{{full}}", "type_check", "int", "found false."),
        ("{{price}}", "type_check", "integer", "found 99.5."),
        ("{{full}}", "in_set", [0, 1], "found false."),
        ("{{legs}}", "in_set", [], 'found ["FRA", "JFK"].'),
    ],
)
def test_does_not_hold_and_says_so(variable: str, check: str, value: Any, text: str) -> None:
    assert text in str(outcome(variable, check, value))


def test_the_guards_own_message_ends_the_text() -> None:
    text = outcome("{{seats}}", "in_range", [1, 100], "Too many seats for this gate")
    assert text == "Guard on {{seats}}: expected in_range [1, 100], found 180. Too many seats for this gate"


def test_a_secret_is_checked_but_never_shown() -> None:
    assert outcome("{{secrets.PIN}}", "equals", "hunter2") is None
    for text in (outcome("{{secrets.PIN}}", "equals", "x"), outcome("{{seats}}", "equals", "{{secrets.PIN}}")):
        assert text is not None
        assert "hidden" in text
        assert "hunter2" not in text


@pytest.mark.parametrize(
    ("variable", "check", "value", "words"),
    [
        ("{{seats}}", "is_nice", None, "There is no check 'is_nice'; there are equals, exists"),
        ("{{seats}}", "in_range", [1], "in_range needs"),
        ("{{seats}}", "in_set", "180", "in_set needs a list"),
        ("{{seats}}", "matches_regex", 5, "needs a pattern"),
        ("{{seats}}", "matches_regex", "(", "cannot be used"),
        ("{{seats}}", "type_check", "decimal", "type_check knows array, bool"),
        ("{{seats|x}}", "exists", None, "uses a filter"),
        ("seats >", "exists", None, "is not a path"),
    ],
)
def test_a_guard_that_makes_no_sense_is_an_error(variable: str, check: str, value: Any, words: str) -> None:
    with pytest.raises(ExpressionError, match=words.replace("|", r"\|")):
        outcome(variable, check, value)


@pytest.mark.parametrize(
    "pattern",
    [
        r"^[A-Z]{2}\d{3,4}$",
        r"[\w.+-]+@[\w-]+\.\w+",
        "(?i)abc",
        "(?P<y>\\d{4})-(?:a|b)?x",
        r"[)(]+\)*",
        "[]*+]+",
        r"\(+",
    ],
)
def test_common_patterns_are_matched_in_this_process(pattern: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard_regex, "_matches_elsewhere", lambda pattern, text: pytest.fail("left the process"))
    assert matches(pattern, "something else!") in {True, False}


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+$",
        "(a|aa)+$",
        "(a|a)*$",
        "(.*)(.*)(.*)(.*)(.*)(.*)(.*)x",
        "(?:a?){40}a{40}",
        "a?" * 60 + "a" * 60,
        r"(a*)\1*b",
    ],
)
def test_patterns_that_can_backtrack_for_long_are_sent_elsewhere(pattern: str, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = []
    monkeypatch.setattr(guard_regex, "_matches_elsewhere", lambda *given: elsewhere.append(given) or False)
    started = time.monotonic()
    assert not matches(pattern, "a" * 55 + "!")
    assert elsewhere
    assert time.monotonic() - started < 1


def test_what_stays_here_is_quick_even_at_its_worst() -> None:
    started = time.monotonic()
    for pattern in ("a*a*a*b", "[ab]*[bc]*[ac]*d", "a*b", "a*a*b"):
        for size in (100, 125, 1_000, 1_400, 50_000):
            if guard_regex._shape(pattern)[0] and (size + 1) ** guard_regex._shape(pattern)[0] <= guard_regex.MAX_STEPS:
                assert not matches(pattern, "a" * size)
    assert time.monotonic() - started < 2


def test_pattern_and_text_are_bounded() -> None:
    for pattern, text in (("a" * 1_001, "a"), ("a", "a" * 100_001)):
        with pytest.raises(ExpressionError, match="takes patterns of 1,000 and texts of 100,000"):
            matches(pattern, text)
