"""The API waits for its database, also where that goes away while the API begins."""

from __future__ import annotations

import logging

import pytest

from highway_core.api import wiring
from highway_core.cli import durable_services
from highway_core.cli.durable_services import api_context
from highway_core.config import Settings
from highway_core.errors import SchemaError, StorageError
from highway_core.services.loop import Stop


@pytest.fixture(autouse=True)
def _reachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durable_services, "await_database", lambda _name, _url, stop: not stop.is_set())


def test_a_database_that_goes_away_while_the_api_begins_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failures = [StorageError("PostgreSQL is shutting down"), StorageError("PostgreSQL is starting up")]

    def open_context(_settings: Settings) -> str:
        if failures:
            raise failures.pop()
        return "opened"

    monkeypatch.setattr(wiring, "open_context", open_context)
    assert api_context(Settings(), Stop()) == "opened"
    assert caplog.messages == ["The API waits for the database, and tries again: PostgreSQL is starting up"]
    assert caplog.records[0].levelno == logging.WARNING


def test_an_api_that_is_told_to_stop_while_it_waits_opens_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    stop = Stop()

    def open_context(_settings: Settings) -> None:
        stop.set()
        raise StorageError("PostgreSQL is away")

    monkeypatch.setattr(wiring, "open_context", open_context)
    assert api_context(Settings(), stop) is None


def test_another_schema_is_no_passing_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    def open_context(_settings: Settings) -> None:
        raise SchemaError("another version of Highway")

    monkeypatch.setattr(wiring, "open_context", open_context)
    with pytest.raises(SchemaError):
        api_context(Settings(), Stop())
