"""What can be asked about runs and of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any
from urllib.parse import quote

from highway_core.cli.durable_clients.answers import Request, Transport, json_of
from highway_core.cli.durable_clients.patience import PatientTransport
from highway_core.cli.durable_database import with_database
from highway_core.config import Settings

Json = dict[str, Any]
_PAGE = 500
_HISTORY_PAGE = 2_000


@dataclass(frozen=True, slots=True)
class Start:
    """A run that is wanted: of a document, or of the workflow that has the name."""

    name: str | None = None
    document: Mapping[str, Any] | str | None = None
    inputs: Mapping[str, Any] = field(default_factory=dict)
    run_id: str | None = None
    key: str | None = None
    priority: int = 0
    queue: str | None = None


class DurableClient:
    """Speaks the API's language over a transport; what it returns is the API's JSON.

    RefusedError or DocumentError say why something was not done.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def patient(self, say: Callable[[str], None]) -> DurableClient:
        """The same for who only looks: that nobody answers is said once, and asked again until somebody does."""
        return DurableClient(PatientTransport(self._transport, say))

    def start(self, wanted: Start) -> Json:
        """A new run, or the one that was started before under the same id or key."""
        given = {
            "name": wanted.name,
            "document": wanted.document,
            "inputs": dict(wanted.inputs) or None,
            "workflow_id": wanted.run_id,
            "priority": wanted.priority or None,
            "queue": wanted.queue,
        }
        body = {name: value for name, value in given.items() if value is not None}
        headers = {"Idempotency-Key": wanted.key} if wanted.key is not None else None
        return self._object(Request("POST", "/workflow/start", {}, body, headers))

    def status(self, run_id: str, *, tasks: int = 1_000, offset: int = 0, wait: float | None = None) -> Json:
        """A run with so many of its tasks; with ``wait`` when it has ended, or after so many seconds."""
        query = {"task_limit": str(tasks), "task_offset": str(offset)}
        if wait is not None:
            query["wait"] = f"{wait:g}"
        return self._object(Request("GET", f"/workflow/status/{_part(run_id)}", query, patience=wait or 0.0))

    def runs(self, limit: int, **filters: str | None) -> list[Json]:
        """The newest first; ``status``, ``name``, ``parent`` and ``tag`` narrow it down."""
        given = {name: value for name, value in filters.items() if value is not None}
        return self._pages("/workflows", "workflows", limit, given)

    def history(self, run_id: str, after: int = 0) -> Iterator[Json]:
        """What happened in a run since the entry ``after``, in order."""
        position: int | None = after
        while position is not None:
            query = {"after": str(position), "limit": str(_HISTORY_PAGE)}
            page = self._object(Request("GET", f"/workflow/history/{_part(run_id)}", query))
            yield from page["events"]
            position = page.get("next_after")

    def tell(self, run_id: str, deed: str, body: Json | None = None) -> Json:
        """``cancel``, ``pause``, ``unpause`` or ``retry`` a run."""
        return self._object(Request("POST", f"/workflow/{deed}/{_part(run_id)}", {}, body or {}))

    def emit(self, name: str, payload: Any) -> Json:
        """Emit an event."""
        return self._object(Request("POST", f"/workflow/events/{_part(name)}", {}, {"payload": payload}))

    def approvals(self, limit: int) -> list[Json]:
        """The decisions that are waited for, the oldest first."""
        return self._pages("/api/v1/approvals", "data", limit, {})

    def decide_by_token(self, token: str, decision: str, comment: str) -> Json:
        """Take the decision that a link is for."""
        body = {"token": token, "decision": decision, "comment": comment}
        return self._object(Request("POST", "/workflow/resume", {}, body))

    def decide(self, approval_id: str, decision: str, comment: str) -> Json:
        """Take the decision that has the id."""
        body = {"decision": decision, "comment": comment}
        answer = self._object(Request("POST", f"/api/v1/approvals/{_part(approval_id)}/decide", {}, body))
        taken: Json = answer["data"]
        return taken

    def _pages(self, path: str, member: str, limit: int, query: dict[str, str]) -> list[Json]:
        """The first ``limit`` of a list that comes in pages."""
        found: list[Json] = []
        while len(found) < limit:
            page = self._object(Request("GET", path, {**query, "limit": str(min(_PAGE, limit - len(found)))}))
            found += page[member]
            if not page.get("next_cursor"):
                break
            query = {**query, "cursor": page["next_cursor"]}
        return found

    def _object(self, request: Request) -> Json:
        answer: Json = json_of(*self._transport.send(request))
        return answer


@contextmanager
def open_client(settings: Settings, api: str | None) -> Iterator[DurableClient]:
    """Over HTTP if an API is named, else straight over the database. ConfigError if there is neither."""
    endpoint = api or settings.api_endpoint
    transport: Transport
    if endpoint is not None:
        module = import_module("highway_core.cli.durable_clients.http")
        transport = module.HttpTransport(endpoint, settings.api_key)
    else:
        module = import_module("highway_core.cli.durable_clients.in_process")
        transport = module.InProcessTransport(with_database(settings))
    try:
        yield DurableClient(transport)
    finally:
        transport.close()


def _part(text: str) -> str:
    """One part of a path."""
    return quote(text, safe="")
