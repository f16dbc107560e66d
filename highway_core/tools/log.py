"""``tools.log.*``: a line in the log, on logger ``HighwayEngine``, with the run and the task as fields."""

from __future__ import annotations

import logging
from typing import Any

from highway_core.tools.context import current_context
from highway_core.tools.decorators import tool

_LOGGER = logging.getLogger("HighwayEngine")


@tool("tools.log.debug")
def debug(message: Any) -> None:
    _log(logging.DEBUG, message)


@tool("tools.log.info")
def info(message: Any) -> None:
    _log(logging.INFO, message)


@tool("tools.log.warning")
def warning(message: Any) -> None:
    _log(logging.WARNING, message)


@tool("tools.log.error")
def error(message: Any) -> None:
    _log(logging.ERROR, message)


def _log(level: int, message: Any) -> None:
    if not _LOGGER.isEnabledFor(level):
        return
    context = current_context()
    fields = None if context is None else {"run_id": context.run_id, "task_id": context.task_id}
    _LOGGER.log(level, "%s", message, extra=fields)
