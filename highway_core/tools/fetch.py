"""``tools.fetch.get`` and ``tools.fetch.post``: an answer as ``{status, data, headers}``, whatever happens.

They never fail a task by what a server does: the workflow looks at ``status``. ``tools.http.request`` is the one that
fails.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from highway_core.errors import TaskError, TaskStoppedError
from highway_core.tools.decorators import tool
from highway_core.tools.http_client import Call, exchange

_NO_ANSWER = 500
"""The status that stands for a server that gave none."""


@tool("tools.fetch.get", stoppable=True)
def get(url: str, headers: Mapping[str, str] | None = None, *, timeout: float = 30) -> dict[str, Any]:
    """``data`` is the parsed JSON, or the text of what is not JSON; after an error its text, with no headers."""
    return _fetch(Call("GET", url, headers=headers, timeout=timeout))


@tool("tools.fetch.post", stoppable=True)
def post(
    url: str, data: Any = None, headers: Mapping[str, str] | None = None, *, timeout: float = 30
) -> dict[str, Any]:
    """Send ``data`` as JSON; the answer is as for ``tools.fetch.get``."""
    return _fetch(Call("POST", url, json=data, headers=headers, timeout=timeout))


def _fetch(call: Call) -> dict[str, Any]:
    try:
        answer = exchange(call)
    except TaskStoppedError:
        raise
    except TaskError as error:
        return {"status": _NO_ANSWER, "data": str(error), "headers": {}}
    if not answer.ok:
        return {"status": answer.status, "data": f"{call.name}: {answer.problem()}", "headers": {}}
    try:
        data = answer.parsed()
    except ValueError:
        data = answer.text
    return {"status": answer.status, "data": data, "headers": answer.headers}
