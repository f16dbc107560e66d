"""``tools.http.request``: any HTTP request; an answer of 400 and above fails the task unless told otherwise."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from highway_core.errors import TaskError
from highway_core.tools.decorators import tool
from highway_core.tools.http_client import Answer, Call, exchange


@tool("tools.http.request", stoppable=True)
def request(  # noqa: PLR0913 - the names that documents of the published client use
    url: str,
    method: str = "GET",
    *,
    json: Any = None,
    headers: Mapping[str, str] | None = None,
    params: Mapping[str, Any] | None = None,
    data: str | Mapping[str, Any] | None = None,
    timeout: float = 30,
    fail_on_error: bool = True,
    follow_redirects: bool = True,
) -> dict[str, Any]:
    """``{status_code, headers, url}`` with ``json`` where the body is JSON, else ``text``.

    ``data`` is sent as it is (text) or as a form (a mapping); ``timeout`` is for the whole exchange, in seconds. A body
    that is no text is also there, whole, as ``content_base64``.
    """
    call = Call(
        method=method,
        url=url,
        headers=headers,
        params=params,
        json=json,
        data=data,
        timeout=timeout,
        follow_redirects=follow_redirects,
    )
    answer = exchange(call)
    if fail_on_error and not answer.ok:
        raise TaskError(f"{call.name}: {answer.problem()}")
    return {"status_code": answer.status, "headers": answer.headers, "url": answer.url} | _content(answer)


def _content(answer: Answer) -> dict[str, Any]:
    if answer.looks_like_json:
        try:
            return {"json": answer.parsed()}
        except ValueError:  # it only looked like it
            pass
    if answer.is_text:
        return {"text": answer.text}
    return {"text": answer.text, "content_base64": base64.b64encode(answer.body).decode("ascii")}
