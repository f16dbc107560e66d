"""Patterns that may backtrack for long are matched in a process that can be killed."""

from __future__ import annotations

import time

import pytest

from highway_core.engine import guard_regex
from highway_core.engine.guard_regex import matches
from highway_core.errors import ExpressionError


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        (r"^([a-z0-9-]+\.)+[a-z]{2,}$", "www.example.org", True),
        (r"^([a-z0-9-]+\.)+[a-z]{2,}$", "www.example.", False),
        (r"(ü|\U0001F600)+$", "üü😀", True),
        (r"(a|\ud800)+$", "a\ud800", True),
        (r"(a)\1$", "aa", True),
    ],
)
def test_a_repeated_group_means_what_it_means_in_python(pattern: str, text: str, expected: bool) -> None:
    assert matches(pattern, text) is expected


def test_a_pattern_that_backtracks_for_ever_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard_regex, "TIMEOUT", 0.5)
    started = time.monotonic()
    with pytest.raises(ExpressionError, match=r"'\(a\+\)\+\$' took longer than 0.5 s"):
        matches("(a+)+$", "a" * 60 + "!")
    assert time.monotonic() - started < 5
