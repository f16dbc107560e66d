"""What comes to runs from outside: events, and items for a foreach that takes more while it runs."""

from __future__ import annotations

from flask import Response

from highway_core.api.access import caller
from highway_core.api.bodies import reply
from highway_core.api.context import ApiContext
from highway_core.api.problems import ApiError
from highway_core.api.routing import Routes
from highway_core.api.run_models import EventAnswer, EventBody, ItemsAnswer, ItemsBody
from highway_core.persistence.api_keys import Scope
from highway_core.utils.json_values import to_storable

routes = Routes()
_LONGEST_EVENT = 300


@routes.post(
    "/workflow/events/<path:name>",
    scope=Scope.EVENTS_WRITE,
    summary="Emit an event: whoever waits for it goes on, whoever waits for it later finds it",
    body=EventBody,
    answers={202: EventAnswer},
    problems=(422,),
)
def emit(context: ApiContext, name: str, body: EventBody) -> Response:
    """The payload is the result of the tasks that wait for the event."""
    if len(name) > _LONGEST_EVENT:
        detail = f"The name of an event has at most {_LONGEST_EVENT} characters."
        raise ApiError(422, "invalid_event_name", "The name is not valid", detail)
    payload, _ = to_storable(body.payload, max_bytes=context.settings.max_result_bytes, name="payload")
    delivered = context.runs.emit(name, payload, caller().by)
    return reply(EventAnswer(message="The event was stored.", name=name, delivered=delivered), 202)


@routes.post(
    "/workflow/items/<path:run_id>/<task>",
    scope=Scope.RUNS_WRITE,
    summary="Hand further items to a foreach with 'dynamic: true'",
    body=ItemsBody,
    answers={202: ItemsAnswer},
    problems=(404, 409, 422),
)
def add_items(context: ApiContext, run_id: str, task: str, body: ItemsBody) -> Response:
    """409 if the task is over, or takes no items."""
    to_storable(body.items, max_bytes=context.settings.max_result_bytes, name="items")
    context.runs.add_items(run_id, task, body.items, caller().by)
    answer = ItemsAnswer(message="The items were added.", workflow_id=run_id, task_id=task, added=len(body.items))
    return reply(answer, 202)
