"""The one place that configures logging: to stderr, as much as was asked for.

Without ``-v``: warnings, and what workflows say through ``tools.log.*`` from INFO on. ``-v``: what Highway does.
``-vv``: everything, libraries included. A service says what it does without being asked, and when.
"""

from __future__ import annotations

import logging
import sys
import time

from highway_core.cli.text import printable

_ENGINE = "HighwayEngine"
_OURS = (_ENGINE, "HighwayScheduler", "HighwayWorker", "highway_core")
_SERVICES = ("HighwayScheduler", "HighwayWorker", "highway_core.services", "highway_core.api", "highway_core.tools")
_SAID_BY_TASKS = "log"
"""The module of ``tools.log.*``, which writes to the engine's logger."""


class _StderrHandler(logging.Handler):
    """Writes to whatever ``sys.stderr`` is at the moment. A tool that logs too much is told so by its call."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(f"{self.format(record)}\n")
            sys.stderr.flush()
        except OSError:  # nobody reads it
            pass


class _Formatter(logging.Formatter):
    """``INFO greet: Hello`` for what a task says, ``WARNING highway_core.tools.webhook: …`` for the rest."""

    def __init__(self, *, with_time: bool) -> None:
        super().__init__()
        self.converter = time.gmtime
        self._with_time = with_time

    def format(self, record: logging.LogRecord) -> str:
        source = getattr(record, "task_id", None) or record.name
        text = printable(f"{record.levelname} {source}: {record.getMessage()}")
        if self._with_time:
            text = f"{self.formatTime(record, '%Y-%m-%dT%H:%M:%S')}.{int(record.msecs):03}Z {text}"
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


def configure_logging(verbose: int, *, service: bool = False) -> None:
    """For ``-v`` given so many times."""
    handler = _StderrHandler()
    handler.setFormatter(_Formatter(with_time=service))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.DEBUG if verbose > 1 else logging.WARNING)
    for name in _OURS:
        logging.getLogger(name).setLevel(logging.DEBUG if verbose > 1 else logging.INFO)
    if not verbose:
        handler.addFilter(_worth_showing_by_services if service else _worth_showing)


def _worth_showing_by_services(record: logging.LogRecord) -> bool:
    return _worth_showing(record) or record.name.startswith(_SERVICES)


def _worth_showing(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING or (record.name == _ENGINE and record.module == _SAID_BY_TASKS)
