"""``tools.python.run``: a function from an uploaded artifact, or from an allowed module, run in the sandbox."""

from __future__ import annotations

import difflib
import json
import logging
import secrets
import zipfile
from pathlib import Path
from typing import Any

from highway_core.errors import TaskError
from highway_core.tools.artifacts import artifact_path
from highway_core.tools.child_process import shown_end
from highway_core.tools.context import ToolContext
from highway_core.tools.decorators import tool
from highway_core.tools.sandboxed_python import parsed, run_python

_LOGGER = logging.getLogger(__name__)
_BOOTSTRAP = Path(__file__).with_name("sandbox_bootstrap.py")
_ARTIFACT = "artifact.zip"


@tool("tools.python.run", stoppable=True)
def run(context: ToolContext, function: str, *args: Any, artifact_id: str | None = None, **kwargs: Any) -> Any:
    """What ``package.module.function(context, *args, **kwargs)`` returns.

    The context it gets has ``get_variable(name, default)``, ``set_variable(name, value)``, ``run_id``, ``task_id``,
    ``workflow_name`` and ``attempt``. The variables that it sets are the run's once this attempt has completed. Without
    an artifact the module must be installed and among HIGHWAY_TOOL_MODULES.
    """
    module = function.rpartition(".")[0] if isinstance(function, str) else ""
    if not module:
        raise TaskError(f"tools.python.run needs package.module.function, not {function!r}.")
    files: dict[str, Path] = {}
    if artifact_id is None:
        _check_allowed(module, context.settings.tool_modules)
    else:
        files[_ARTIFACT] = artifact_path(artifact_id, context.settings, context.fetch_artifact)
        _check_contained(module, files[_ARTIFACT], artifact_id)
    mark = f"__HIGHWAY_ANSWER_{secrets.token_hex(8)}__:"
    done = run_python(
        context,
        ("-c", _BOOTSTRAP.read_text(encoding="utf-8")),
        what=function,
        stdin=_request(context, function, args, kwargs, {"mark": mark, "artifact": next(iter(files), None)}),
        files=files,
    )
    printed, found, answer = done.stdout.rpartition(f"\n{mark}")
    if printed or done.stderr:
        _LOGGER.info("%s printed: %s", function, shown_end(f"{printed}\n{done.stderr}"))
    if not found:
        raise TaskError(f"{function} ended its process without a result: {shown_end(done.stderr) or 'no error told'}")
    outcome = parsed(answer, f"The result of {function}")
    for name, value in outcome["variables"].items():
        context.set_variable(name, value)
    return outcome["result"]


def _request(
    context: ToolContext, function: str, args: tuple[Any, ...], kwargs: dict[str, Any], rest: dict[str, Any]
) -> bytes:
    variables = {**context.inputs, **context.state.variables, **context.changed_variables}
    about = {
        "run_id": context.run_id,
        "workflow_name": context.workflow_name,
        "task_id": context.task_id,
        "attempt": context.attempt,
        "variables": variables,
    }
    request = {"function": function, "args": args, "kwargs": kwargs, "context": about, **rest}
    try:
        return json.dumps(request).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise TaskError(f"The arguments of {function} cannot go into the sandbox: {error}.") from error


def _check_allowed(module: str, allowed: tuple[str, ...]) -> None:
    if not any(module == name or module.startswith(f"{name}.") for name in allowed):
        raise TaskError(
            f"Without artifact_id the module must be an allowed one: add '{module}' to HIGHWAY_TOOL_MODULES."
        )


def _check_contained(module: str, artifact: Path, artifact_id: str) -> None:
    """Only what came with the artifact may be named, and a misspelt name is answered with the right one."""
    with zipfile.ZipFile(artifact) as archive:
        names = archive.namelist()
    modules = {
        name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in names if name[-3:] == ".py"
    }
    if module not in modules:
        near = difflib.get_close_matches(module, modules, 1)
        hint = f"; did you mean '{near[0]}'" if near else ""
        raise TaskError(f"Artifact {artifact_id} has no module '{module}'{hint}.")
