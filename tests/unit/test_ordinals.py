"""Numbers of creation order."""

from __future__ import annotations

from datetime import timedelta

import pytest

from highway_core.persistence import ordinals
from highway_core.utils.clock import utc_now


def test_numbers_are_consecutive_and_never_repeat() -> None:
    first = ordinals.ordinals(3)
    following = ordinals.ordinals(2)

    assert list(first) == [first[0], first[0] + 1, first[0] + 2]
    assert first[-1] < following[0] < following[1] < ordinals.next_ordinal()


def test_numbers_are_above_those_of_a_process_that_stopped_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ordinals, "_last", 0)
    before = int(utc_now().timestamp() * 1_000_000)

    assert ordinals.next_ordinal() >= before


def test_numbers_go_up_also_when_the_clock_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    last = ordinals.next_ordinal()
    yesterday = utc_now() - timedelta(days=1)
    monkeypatch.setattr(ordinals, "utc_now", lambda: yesterday)

    assert ordinals.next_ordinal() > last
