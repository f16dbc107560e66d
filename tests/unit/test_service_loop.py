"""The loop of a service: when it passes, what ends its waits, and what it says about trouble."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator

import pytest

from highway_core.errors import ConnectionLostError, StorageError
from highway_core.services.loop import Backoff, ServiceLoop, Stop, Trouble

_LONG = 60.0


class _Passes:
    """A service whose passes do what they are told; stops the loop after the last one."""

    def __init__(self, stop: Stop, *deeds: Exception | None) -> None:
        self._stop = stop
        self._deeds: Iterator[Exception | None] = iter(deeds)
        self.done = 0

    def __call__(self) -> None:
        self.done += 1
        deed = next(self._deeds, "end")
        if deed == "end":
            self._stop.set()
        elif isinstance(deed, Exception):
            raise deed


def _loop(passes: Callable[[], None], stop: Stop, **more: object) -> ServiceLoop:
    return ServiceLoop("The tester", passes, stop, logger=logging.getLogger("tester"), **{"interval": 0.0, **more})  # type: ignore[arg-type]


def test_it_passes_until_it_is_stopped() -> None:
    stop = Stop()
    passes = _Passes(stop, None, None)
    _loop(passes, stop).run()
    assert passes.done == 3


def test_a_stopped_loop_does_not_pass() -> None:
    stop = Stop()
    stop.set()
    passes = _Passes(stop)
    _loop(passes, stop).run()
    assert passes.done == 0


def test_the_stop_ends_a_long_wait() -> None:
    stop, passed = Stop(), threading.Event()
    thread = threading.Thread(target=_loop(passed.set, stop, interval=_LONG).run)
    thread.start()
    assert passed.wait(10)
    stop.set()
    thread.join(10)
    assert not thread.is_alive()


def test_the_next_due_moment_ends_the_wait_before_the_interval_does() -> None:
    stop = Stop()
    passes = _Passes(stop, None)
    _loop(passes, stop, interval=_LONG, until_next=lambda: 0.001).run()
    assert passes.done == 2


def test_something_to_read_ends_the_wait() -> None:
    stop = Stop()
    passes = _Passes(stop, None)
    reader, writer = os.pipe()
    os.write(writer, b"x")
    _loop(passes, stop, interval=_LONG, hears=lambda: (reader,)).run()
    assert passes.done == 2
    os.close(reader)
    os.close(writer)


def test_an_outage_is_said_once_and_its_end_is_said(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    trouble = Trouble("The tester", logging.getLogger("tester"))
    for error in (ConnectionLostError("gone"), StorageError("refused"), ConnectionLostError("starting")):
        trouble.met(error)
    trouble.over()
    trouble.over()
    assert [(one.levelname, one.getMessage()) for one in caplog.records] == [
        ("WARNING", "The tester waits for the database, and tries again: gone"),
        ("INFO", "The tester works again"),
    ]


def test_a_second_outage_is_said_again(caplog: pytest.LogCaptureFixture) -> None:
    trouble = Trouble("The tester", logging.getLogger("tester"))
    for _ in range(2):
        trouble.met(ConnectionLostError("gone"))
        trouble.over()
    assert [one.levelname for one in caplog.records] == ["WARNING", "WARNING"]


def test_a_bug_does_not_end_the_service_and_is_logged_once_with_its_trace(caplog: pytest.LogCaptureFixture) -> None:
    stop = Stop()
    passes = _Passes(stop, ZeroDivisionError("x"), ZeroDivisionError("x"), None)
    _loop(passes, stop).run()
    assert passes.done == 4
    assert [one.levelname for one in caplog.records] == ["ERROR"]
    assert caplog.records[0].exc_info is not None


def test_pauses_grow_up_to_the_ceiling_and_begin_anew_after_a_success() -> None:
    backoff = Backoff(first=1, longest=8)
    pauses = [backoff.pause() for _ in range(6)]
    for pause, most in zip(pauses, (1, 2, 4, 8, 8, 8), strict=True):
        assert most / 2 <= pause <= most
    backoff.reset()
    assert backoff.pause() <= 1


def test_pauses_differ_from_process_to_process() -> None:
    assert len({Backoff(first=1).pause() for _ in range(20)}) > 10


def test_a_stop_that_is_set_twice_is_set() -> None:
    stop = Stop()
    assert not stop.wait(0)
    stop.set()
    stop.set()
    assert stop.is_set()
    assert stop.wait(None)
