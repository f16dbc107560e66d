"""What a service shows of its log without being asked for more."""

from __future__ import annotations

import logging

import pytest

from highway_core.cli.logs import _worth_showing, _worth_showing_by_services


def record(logger: str, level: int) -> logging.LogRecord:
    return logging.LogRecord(logger, level, "/somewhere/module.py", 1, "said", (), None)


@pytest.mark.parametrize("logger", ["highway_core.tools.email", "highway_core.tools.api", "highway_core.services.loop"])
def test_a_service_shows_the_mail_that_was_only_logged_and_a_run_on_the_command_line_does_not(logger: str) -> None:
    assert _worth_showing_by_services(record(logger, logging.INFO))
    assert not _worth_showing(record(logger, logging.INFO))


def test_a_service_does_not_show_what_libraries_and_the_engine_are_at() -> None:
    assert not _worth_showing_by_services(record("highway_core.engine.durable.desk", logging.INFO))
    assert not _worth_showing_by_services(record("urllib3.connectionpool", logging.INFO))
    assert _worth_showing_by_services(record("urllib3.connectionpool", logging.WARNING))
