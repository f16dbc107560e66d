"""Starting runs: by name, with a document, and as the published clients do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Response, request

from highway_core.api.access import caller
from highway_core.api.bodies import reply
from highway_core.api.context import ApiContext
from highway_core.api.problems import ApiError
from highway_core.api.routing import Routes
from highway_core.api.run_models import (
    StartAny,
    Started,
    StartNamed,
    StartWire,
    WireStarted,
    WireStartedData,
)
from highway_core.engine.durable.operations import Started as StartedRun
from highway_core.engine.durable.operations import StartRequest
from highway_core.engine.graph import CompiledWorkflow
from highway_core.errors import RunConflictError
from highway_core.persistence.api_keys import Scope
from highway_core.utils.json_values import to_storable

routes = Routes()
_KEY_HEADERS = ("Idempotency-Key", "X-Idempotency-Key")
_LONGEST_KEY = 300


@routes.post(
    "/workflow/start/<name>",
    scope=Scope.RUNS_WRITE,
    summary="Start a workflow by its name",
    body=StartNamed,
    answers={202: Started},
    problems=(404, 409, 422),
    headers=_KEY_HEADERS,
)
def start_named(context: ApiContext, name: str, body: StartNamed) -> Response:
    """The workflow is looked up in HIGHWAY_WORKFLOWS_DIR, then among the documents that were submitted before."""
    return _start(context, context.workflows.named(name, body.inputs), body)


@routes.post(
    "/workflow/start",
    scope=Scope.RUNS_WRITE,
    summary="Start a workflow by its name or with its document",
    body=StartAny,
    answers={202: Started},
    problems=(404, 409, 422),
    headers=_KEY_HEADERS,
)
def start_any(context: ApiContext, body: StartAny) -> Response:
    """The same ``workflow_id`` or idempotency key with the same payload is the same run, at any time."""
    if (body.name is None) == (body.document is None):
        detail = "Give either 'name' or 'document'."
        raise ApiError(422, "invalid_body", "The body is not valid", detail, problems=[])
    if body.document is not None:
        return _start(context, context.workflows.given(body.document, body.inputs), body)
    return _start(context, context.workflows.named(body.name or "", body.inputs), body)


@routes.post(
    "/api/v1/workflows",
    scope=Scope.RUNS_WRITE,
    summary="Start a workflow (published clients)",
    body=StartWire,
    answers={202: WireStarted},
    problems=(409, 422),
    headers=_KEY_HEADERS,
)
def start_wire(context: ApiContext, body: StartWire) -> Response:
    """As ``POST /workflow/start``, in the words of the published clients."""
    workflow = context.workflows.given(body.workflow_definition, body.inputs)
    started = _carried_out(context, StartNamed(inputs=body.inputs), workflow)
    return reply(WireStarted(data=WireStartedData(workflow_run_id=started.run_id)), 202)


def _start(context: ApiContext, workflow: CompiledWorkflow, body: StartNamed) -> Response:
    started = _carried_out(context, body, workflow)
    name = workflow.model.name
    answer = Started(
        message=f"Workflow '{name}' started." if started.created else "That run was started before; this is it.",
        workflow_id=started.run_id,
        workflow_name=name,
        status=started.status,
        created=started.created,
        total_tasks=workflow.graph.size(),
    )
    return reply(answer, 202)


def _carried_out(context: ApiContext, body: StartNamed, workflow: CompiledWorkflow) -> StartedRun:
    asked = StartRequest(
        workflow=workflow,
        inputs=_storable(context, body.inputs),
        run_id=body.workflow_id,
        idempotency_key=_idempotency_key(),
        created_by=caller().by,
        queue=body.queue,
        priority=body.priority,
    )
    started = context.runs.start(asked)
    if body.workflow_id not in {None, started.run_id}:
        raise RunConflictError(
            f"The idempotency key is that of run '{started.run_id}', not of '{body.workflow_id}'.", started.run_id
        )
    return started


def _storable(context: ApiContext, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
    """ResultError says which of them cannot be stored, and why."""
    for name, value in inputs.items():
        to_storable(value, max_bytes=context.settings.max_result_bytes, name=f"inputs.{name}")
    return inputs


def _idempotency_key() -> str | None:
    given = {request.headers[name] for name in _KEY_HEADERS if name in request.headers}
    if not given:
        return None
    key = given.pop()
    if given or not 0 < len(key) <= _LONGEST_KEY or not key.isprintable():
        detail = f"An idempotency key has 1 to {_LONGEST_KEY} printable characters and is given once."
        raise ApiError(400, "invalid_idempotency_key", "The idempotency key is not valid", detail)
    return key
