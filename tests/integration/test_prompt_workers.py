"""What becomes claimable is claimed at once: no wait ends only because a worker looks once in a while."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from highway_core.persistence.approval_store import ApprovalStore
from tests.durable_workers import Workers, workers
from tests.waiting import eventually

SOON = 15.0
"""Seconds; half of what a worker waits that nobody calls."""


@pytest.fixture
def rarely_looking(durable_url: str, tmp_path: Path) -> Iterator[Workers]:
    with workers(durable_url, tmp_path, 2, poll_seconds=30.0) as opened:
        yield opened


def waiting(name: str) -> dict[str, Any]:
    return {"paid": {"operator_type": "wait_for_event", "event_name": name}}


def parked(working: Workers, run_id: str) -> bool:
    return bool(working.rows("SELECT 1 FROM tasks WHERE workflow_id = %s AND status LIKE 'WAITING%%'", run_id))


def test_an_event_that_came_before_who_waits_for_it(rarely_looking: Workers) -> None:
    assert rarely_looking.runs.emit("paid-1", "120", "me") == 0
    assert rarely_looking.ended(rarely_looking.submit(waiting("paid-1")), within=SOON) == ["completed"]


def test_an_event_that_comes_to_who_waits_for_it(rarely_looking: Workers) -> None:
    run_id = rarely_looking.submit(waiting("paid-2"))
    assert eventually(lambda: parked(rarely_looking, run_id))
    assert rarely_looking.runs.emit("paid-2", "120", "me") == 1
    assert rarely_looking.ended(run_id, within=SOON) == ["completed"]


def test_a_decision(rarely_looking: Workers) -> None:
    ask = {"operator_type": "task", "function": "human.request_approval", "args": ["Now?", "me@example.org"]}
    run_id = rarely_looking.submit({"ask": ask})
    assert eventually(lambda: parked(rarely_looking, run_id))
    ((approval_id,),) = rarely_looking.rows("SELECT approval_id FROM approvals WHERE workflow_id = %s", run_id)
    ApprovalStore(rarely_looking.pool).decide(approval_id, "APPROVED", by="me", via="api")
    assert rarely_looking.ended(run_id, within=SOON) == ["completed"]


def test_the_end_of_a_pause_and_of_a_short_sleep(rarely_looking: Workers) -> None:
    nap = {"operator_type": "wait", "wait_for": 0.5}
    after = {"operator_type": "task", "function": "tools.log.info", "args": ["up"], "dependencies": ["nap"]}
    run_id = rarely_looking.submit({"nap": nap, "after": after})
    rarely_looking.runs.pause(run_id, "me")
    rarely_looking.runs.unpause(run_id, "me")
    assert rarely_looking.ended(run_id, within=SOON) == ["completed"]
