"""SIGTERM and SIGINT of a service: the first one stops it in order, the second one at once."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

_SERVICE = """
import sys
from highway_core.services.loop import Stop, install_stop_signals
stop = Stop()
install_stop_signals(stop)
print("ready", flush=True)
stop.wait(60)
print("stopping", flush=True)
if "stubborn" in sys.argv:
    Stop().wait(60)
print("stopped", flush=True)
"""


def _service(*words: str) -> subprocess.Popen[str]:
    service = subprocess.Popen([sys.executable, "-c", _SERVICE, *words], stdout=subprocess.PIPE, text=True)
    assert service.stdout is not None
    assert service.stdout.readline() == "ready\n"
    return service


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_stops_in_order(number: signal.Signals) -> None:
    with _service() as service:
        service.send_signal(number)
        assert service.communicate(timeout=20)[0] == "stopping\nstopped\n"
        assert service.returncode == 0


def test_the_second_signal_ends_the_process_at_once() -> None:
    with _service("stubborn") as service:
        assert service.stdout is not None
        service.send_signal(signal.SIGTERM)
        assert service.stdout.readline() == "stopping\n"
        service.send_signal(signal.SIGTERM)
        assert service.wait(20) == 128 + signal.SIGTERM


def test_a_signal_that_was_ignored_at_the_start_stays_ignored() -> None:
    code = f"import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n{_SERVICE}"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as service:
        assert service.stdout is not None
        service.stdout.readline()
        service.send_signal(signal.SIGINT)
        service.send_signal(signal.SIGTERM)
        assert service.communicate(timeout=20)[0] == "stopping\nstopped\n"
        assert service.returncode == 0
