"""Calls to a database that stands still end: a server that swallows everything stops nobody for ever."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator
from weakref import ref

import pytest

from highway_core.errors import ConnectionLostError
from highway_core.persistence import durable_connection
from highway_core.persistence.call_watch import CallWatch
from highway_core.persistence.durable_connection import LONGEST_CALL, ConnectionPool, DurableConnection
from tests.chaos.proxy import Proxy
from tests.waiting import eventually


@pytest.fixture
def proxy(postgres_url: str) -> Iterator[Proxy]:
    made = Proxy(postgres_url)
    yield made
    made.close()


class Call:
    """A call that does not end by itself."""

    def __init__(self, seconds: float, patience: float) -> None:
        self.patience = patience
        self.broken = threading.Event()
        self._begun = time.monotonic() - seconds

    def busy_for(self) -> float:
        return 0.0 if self.broken.is_set() else time.monotonic() - self._begun

    def break_off(self) -> bool:
        self.broken.set()
        return True


def test_a_call_that_is_never_answered_is_a_lost_connection(proxy: Proxy) -> None:
    connection = DurableConnection(proxy.url, patience=0.4)
    assert connection.value("SELECT 1") == 1
    proxy.stall()
    begun = time.monotonic()
    with pytest.raises(ConnectionLostError):
        connection.value("SELECT 2")
    assert 0.4 <= time.monotonic() - begun < 5
    proxy.watch((), lambda: "")
    assert connection.value("SELECT 3") == 3
    connection.close()


def test_a_call_within_its_time_is_left_alone(proxy: Proxy) -> None:
    connection = DurableConnection(proxy.url, patience=0.4)
    for _ in range(4):
        assert connection.value("SELECT 1 FROM pg_sleep(0.2)") == 1
    connection.close()


def test_who_is_cut_off_in_a_transaction_keeps_its_locks_for_a_while_only(
    proxy: Proxy, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the server it is a client that has gone to sleep."""
    assert "SET idle_in_transaction_session_timeout = '20s'" in durable_connection._SESSION
    monkeypatch.setattr(
        durable_connection, "_SESSION", durable_connection._SESSION.replace("timeout = '20s'", "timeout = '500ms'", 1)
    )
    asleep, other = DurableConnection(proxy.url), DurableConnection(postgres_url, patience=10)
    other.run("CREATE TABLE locked AS SELECT 1 AS one")
    locked: list[tuple[int]] = []
    with pytest.raises(ConnectionLostError), asleep.transaction():
        asleep.fetch("SELECT one FROM locked FOR UPDATE")
        proxy.freeze()
        locked += other.fetch("SELECT one FROM locked FOR UPDATE")
        proxy.thaw()
        asleep.fetch("SELECT 1")
    assert locked == [(1,)]
    assert asleep.value("SELECT 2") == 2
    asleep.close()
    other.close()


def test_everybody_has_a_connection_that_is_looked_after(postgres_url: str) -> None:
    pool = ConnectionPool(postgres_url)
    with pool.connection() as connection:
        assert connection.patience == LONGEST_CALL
    pool.close()


def test_who_comes_with_less_patience_is_looked_at_in_time() -> None:
    watch = CallWatch()
    patient, impatient, late = Call(10, 60), Call(0, 0.2), Call(100, 60)
    watch.look_after(patient)
    watch.look_after(impatient)
    assert impatient.broken.wait(5)
    watch.look_after(late)
    assert late.broken.wait(5)
    assert not patient.broken.is_set()


def test_who_is_gone_is_forgotten() -> None:
    watch = CallWatch()
    call = Call(0, 60)
    watch.look_after(call)
    gone = ref(call)
    del call

    def is_gone() -> bool:
        gc.collect()
        return gone() is None

    assert eventually(is_gone)
