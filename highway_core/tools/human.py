"""``human.request_approval``: ask a person. The tool only says so; whether and how to wait is the mode's business.

It says so on the deciding thread, in the transaction that parks the task: no timeout, however short, comes in between.
"""

from __future__ import annotations

from typing import Any

from highway_core.errors import TaskError
from highway_core.tools.context import AwaitApproval, RunState
from highway_core.tools.decorators import tool


@tool("human.request_approval", transactional=True)
def request_approval(  # the first four are injected; their names are the seeds'
    state: RunState,  # noqa: ARG001
    orchestrator: Any,  # noqa: ARG001
    task_id: str,
    workflow_run_id: str,  # noqa: ARG001
    approval_prompt: str,
    manager_email: str,
) -> AwaitApproval:
    """Park the task until ``manager_email`` has decided about ``approval_prompt``."""
    for name, value in (("approval_prompt", approval_prompt), ("manager_email", manager_email)):
        if not isinstance(value, str) or not value.strip():
            raise TaskError(f"Task '{task_id}' asks for an approval with {name}={value!r}; it must be text.")
    return AwaitApproval(prompt=approval_prompt, assignee=manager_email)
