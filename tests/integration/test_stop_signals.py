"""A stop signal reaches the main thread, whichever thread the kernel hands it to."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from time import monotonic

import pytest

from highway_core.cli.signals import StopSignals, exit_code

EVERY = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Back as they were, whatever a test did."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGURG)
    before = [signal.getsignal(number) for number in numbers]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@EVERY
def test_a_signal_that_another_thread_took_ends_the_wait_of_the_main_thread(number: signal.Signals) -> None:
    heard: list[str] = []

    def interrupt(name: str) -> bool:
        heard.append(name)
        return True

    def take() -> None:
        signal.pthread_kill(threading.get_ident(), number)

    with StopSignals(interrupt) as signals:
        begun = monotonic()
        with pytest.raises(KeyboardInterrupt):
            threading.Timer(0.05, take).start()
            threading.Event().wait(30)
    assert monotonic() - begun < 20
    assert heard == [number.name]
    assert signals.received is number


def test_no_exception_is_raised_where_the_run_says_that_it_stops_by_itself() -> None:
    with StopSignals(lambda _: False) as signals:
        signal.raise_signal(signal.SIGTERM)
    assert signals.received is signal.SIGTERM


def test_the_handlers_are_put_back(handlers: None) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGURG)]
    with StopSignals(lambda _: True):
        assert signal.getsignal(signal.SIGINT) != before[0]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGURG)] == before


def test_a_signal_that_was_ignored_stays_ignored() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with StopSignals(lambda _: True) as signals:
        signal.raise_signal(signal.SIGINT)
    assert signals.received is None


@EVERY
def test_exit_codes_are_those_of_a_shell(number: signal.Signals) -> None:
    assert exit_code(number) == {signal.SIGINT: 130, signal.SIGTERM: 143}[number]
