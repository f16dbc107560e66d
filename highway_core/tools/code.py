"""``tools.code.exec``: Python source, run in the sandbox."""

from __future__ import annotations

from typing import Any

from highway_core.errors import TaskError
from highway_core.tools.context import ToolContext
from highway_core.tools.decorators import tool
from highway_core.tools.sandboxed_python import parsed, run_python

RESULT_MARK = "__HIGHWAY_RESULT__:"


@tool("tools.code.exec", stoppable=True)
def execute(context: ToolContext, code: str, timeout: float | None = None) -> dict[str, Any]:
    """``{stdout, stderr, isolation}`` and the keys of the result beside them.

    The result is the JSON of the last line ``__HIGHWAY_RESULT__:<json>`` on stdout; if that is no object, it stands
    under ``result``. ``isolation`` says what held the code. It has no network, no files of yours and no environment.
    """
    if not isinstance(code, str) or not code.strip():
        raise TaskError(f"tools.code.exec needs Python source, not {code!r}.")
    try:
        source = code.encode()
    except UnicodeEncodeError as error:
        raise TaskError(f"The source is no text that Python can read: {error}.") from error
    done = run_python(context, ("-",), what="The code", stdin=source, timeout=timeout)
    printed = {"stdout": done.stdout, "stderr": done.stderr, "isolation": done.isolation}
    return _result(done.stdout) | printed


def _result(stdout: str) -> dict[str, Any]:
    _, mark, rest = stdout.rpartition(RESULT_MARK)
    if not mark:
        return {}
    value = parsed(rest.partition("\n")[0], f"What the code printed after {RESULT_MARK}")
    return value if isinstance(value, dict) else {"result": value}
