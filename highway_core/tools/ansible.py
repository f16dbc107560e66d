"""``tools.ansible.run``: a playbook, through ansible-runner (the extra ``ansible``)."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from highway_core.errors import TaskError, TaskTimeoutError
from highway_core.tools.child_process import shown_end
from highway_core.tools.context import current_context, tool_settings
from highway_core.tools.decorators import tool
from highway_core.utils.stopping import StopScope


@tool("tools.ansible.run", stoppable=True)
def run(
    playbook: str,
    inventory: Any = None,
    extra_vars: Mapping[str, Any] | None = None,
    timeout: float | None = None,
) -> dict[str, Any]:
    """``{status, rc, stats, stdout}`` of a playbook file; one that does not end well fails the task.

    ``inventory`` is a file, or what ansible-runner takes in its place (a mapping, INI text); ``timeout`` in seconds.
    """
    try:
        import ansible_runner  # noqa: PLC0415 - an optional extra, and large
    except ImportError as error:
        raise TaskError("tools.ansible.run needs ansible-runner: pip install 'highway-core[ansible]'.") from error
    place = Path(playbook).resolve()
    if not place.is_file():
        raise TaskError(f"There is no playbook '{playbook}'.")
    context = current_context()
    stop = context.stop if context else StopScope()
    with tempfile.TemporaryDirectory(prefix="highway-ansible-") as folder:
        # With a callback of ours it installs no signal handlers; quiet, or it prints to our stdout.
        done = ansible_runner.run(
            private_data_dir=folder,
            playbook=str(place),
            inventory=_inventory(inventory),
            extravars=dict(extra_vars or {}),
            quiet=True,
            timeout=None if timeout is None else max(1, round(timeout)),
            cancel_callback=lambda: stop.stopped,
        )
        stop.check()
        stdout = _output(done)
    if done.status == "timeout":
        raise TaskTimeoutError(f"Playbook '{playbook}' ran longer than {timeout:g} s and was ended.")
    if done.status != "successful":
        raise TaskError(f"Playbook '{playbook}' {done.status} with exit code {done.rc}: {shown_end(stdout)}")
    return {"status": done.status, "rc": done.rc, "stats": done.stats, "stdout": stdout}


def _inventory(inventory: Any) -> Any:
    """A file by its full path, because ansible-runner works in another folder."""
    if isinstance(inventory, str) and "\n" not in inventory and Path(inventory).exists():
        return str(Path(inventory).resolve())
    return inventory


def _output(done: Any) -> str:
    limit = tool_settings().max_output_bytes
    with done.stdout as file:
        text: str = file.read(limit + 1)
    return text if len(text) <= limit else f"{text[:limit]}… (cut at HIGHWAY_MAX_OUTPUT_BYTES)"
