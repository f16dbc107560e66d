"""The table of webhooks: registered once, claimed by one runner, answered under a fence."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from highway_core.errors import StorageError
from highway_core.persistence.database import DatabaseManager, get_db_manager
from highway_core.persistence.models import Webhook
from highway_core.utils.clock import utc_now

URL = "https://example.org/hook"


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> DatabaseManager:
    if request.param == "postgresql":
        return get_db_manager(engine_url=request.getfixturevalue("postgres_url"))
    return get_db_manager(tmp_path / "runs.sqlite3")


def add(database: DatabaseManager, number: int = 1, **changes: Any) -> int:
    """A new webhook's id."""
    assert database.create_webhook(f"task-{number}", f"x-{number}", "run", URL, **changes)
    return max(int(row["id"]) for row in database.get_webhooks_by_workflow("run"))


def the(database: DatabaseManager, webhook_id: int) -> dict[str, Any]:
    return next(row for row in database.get_webhooks_by_workflow("run") if row["id"] == webhook_id)


def turn_back(database: DatabaseManager, webhook_id: int, column: str, moment: datetime) -> None:
    with database.session_scope() as session:
        session.execute(update(Webhook).where(Webhook.id == webhook_id).values({column: moment}))


def test_a_webhook_is_registered_once_for_an_execution_and_type(database: DatabaseManager) -> None:
    assert database.create_webhook("t", "x", "run", URL, headers={"A": "b"}, payload={"n": [1]})
    assert not database.create_webhook("t", "x", "run", "https://example.org/other")
    assert database.create_webhook("t", "x", "run", URL, webhook_type="on_start")
    assert database.create_webhook("t", "x", "other run", URL)

    first, second = database.get_webhooks_by_workflow("run")

    assert (first["url"], first["headers"], first["payload"]) == (URL, {"A": "b"}, {"n": [1]})
    assert (first["method"], first["webhook_type"], first["status"]) == ("POST", "on_complete", "pending")
    assert (first["retry_count"], first["max_retries"], first["rate_limit_requests"]) == (0, 3, 10)
    assert second["webhook_type"] == "on_start"
    assert first["delivery_id"] != second["delivery_id"]
    assert first["created_at"].tzinfo is not None


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://example.org", "example.org", "javascript:alert(1)", ""])
def test_a_webhook_goes_to_http_addresses_only(database: DatabaseManager, url: str) -> None:
    with pytest.raises(StorageError, match="http or https"):
        database.create_webhook("t", "x", "run", url)
    assert database.get_webhooks_by_workflow("run") == []


def test_reading_what_is_ready_claims_nothing(database: DatabaseManager) -> None:
    ids = [add(database, number) for number in range(3)]

    assert [row["id"] for row in database.get_ready_webhooks()] == ids
    assert [row["id"] for row in database.get_ready_webhooks(limit=2)] == ids[:2]


def test_a_claimed_webhook_is_nobody_elses_until_its_lease_ends(database: DatabaseManager) -> None:
    ids = [add(database, number) for number in range(3)]

    claimed = database.claim_ready_webhooks(limit=2)

    assert [row["id"] for row in claimed] == ids[:2]
    assert {(row["status"], row["fence"]) for row in claimed} == {("sending", 1)}
    assert [row["id"] for row in database.claim_ready_webhooks()] == ids[2:]
    assert database.claim_ready_webhooks() == []

    turn_back(database, ids[0], "lease_until", utc_now() - timedelta(seconds=1))
    (again,) = database.claim_ready_webhooks()
    assert (again["id"], again["fence"], again["delivery_id"]) == (ids[0], 2, claimed[0]["delivery_id"])


def test_many_runners_never_claim_the_same_webhook(database: DatabaseManager) -> None:
    ids = [add(database, number) for number in range(60)]
    claimed: list[int] = []
    start = threading.Barrier(4)

    def run() -> None:
        start.wait()
        while rows := database.claim_ready_webhooks(limit=5):
            assert len(rows) <= 5
            claimed.extend(int(row["id"]) for row in rows)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(claimed) == ids


@pytest.mark.parametrize(("success", "status"), [(True, "sent"), (False, "failed")])
def test_an_answer_ends_a_webhook(database: DatabaseManager, success: bool, status: str) -> None:
    webhook_id = add(database)
    database.claim_ready_webhooks()

    assert database.update_webhook_response(webhook_id, 200, {"X": "y"}, "thanks\0", success)

    row = the(database, webhook_id)
    assert (row["status"], row["response_status"], row["response_headers"]) == (status, 200, {"X": "y"})
    assert (row["response_body"], row["lease_until"]) == ("thanks�", None)
    assert database.get_ready_webhooks() == []
    assert not database.update_webhook_response(webhook_id + 1, 200, {}, "")


def test_an_answer_under_a_lost_lease_is_refused(database: DatabaseManager) -> None:
    webhook_id = add(database)
    (slow,) = database.claim_ready_webhooks()
    turn_back(database, webhook_id, "lease_until", utc_now() - timedelta(seconds=1))
    (fast,) = database.claim_ready_webhooks()

    assert not database.update_webhook_response(webhook_id, 500, {}, "slow", False, fence=slow["fence"])
    assert not database.schedule_webhook_retry(webhook_id, fence=slow["fence"])
    assert not database.postpone_webhook(webhook_id, 5, fence=slow["fence"])
    assert database.update_webhook_response(webhook_id, 200, {}, "fast", fence=fast["fence"])
    assert not database.update_webhook_response(webhook_id, 500, {}, "twice", False, fence=fast["fence"])

    assert the(database, webhook_id)["response_body"] == "fast"


def test_retries_wait_longer_each_time_and_end_as_failed(database: DatabaseManager) -> None:
    webhook_id = add(database, max_retries=2)
    for count, seconds in ((1, 5), (2, 10)):
        (row,) = database.claim_ready_webhooks()
        before = utc_now()
        assert database.schedule_webhook_retry(webhook_id, fence=row["fence"])
        row = the(database, webhook_id)
        assert (row["status"], row["retry_count"]) == ("retry_scheduled", count)
        delay = (row["next_retry_at"] - before).total_seconds()
        assert seconds <= delay < seconds + 2
        assert database.claim_ready_webhooks() == []
        turn_back(database, webhook_id, "next_retry_at", utc_now() - timedelta(seconds=1))

    database.claim_ready_webhooks()
    assert not database.schedule_webhook_retry(webhook_id)
    row = the(database, webhook_id)
    assert (row["status"], row["retry_count"], row["next_retry_at"]) == ("failed", 2, None)
    assert not database.schedule_webhook_retry(webhook_id + 1)


def test_being_rate_limited_is_not_an_attempt(database: DatabaseManager) -> None:
    webhook_id = add(database, max_retries=0)
    for _ in range(3):
        (row,) = database.claim_ready_webhooks()
        assert database.postpone_webhook(webhook_id, 30, fence=row["fence"])
        assert database.claim_ready_webhooks() == []
        turn_back(database, webhook_id, "next_retry_at", utc_now() - timedelta(seconds=1))

    assert the(database, webhook_id)["retry_count"] == 0


def test_only_what_was_sent_long_ago_is_cleaned_up(database: DatabaseManager) -> None:
    old, new, failed = (add(database, number) for number in range(3))
    for webhook_id in (old, new):
        database.update_webhook_response(webhook_id, 200, {}, "")
    database.update_webhook_response(failed, 500, {}, "", success=False)
    for webhook_id in (old, failed):
        turn_back(database, webhook_id, "updated_at", utc_now() - timedelta(days=31))

    assert database.cleanup_completed_webhooks(days_old=30) == 1
    assert [row["id"] for row in database.get_webhooks_by_workflow("run")] == [new, failed]
    assert [row["id"] for row in database.get_webhooks_by_status(["sent"])] == [new]
    assert [row["id"] for row in database.get_webhooks_by_status(["sent", "failed"])] == [new, failed]


def test_the_answers_of_an_address_in_the_last_minute_are_counted(database: DatabaseManager) -> None:
    sent, failed, old = (add(database, number) for number in range(3))
    database.update_webhook_response(sent, 200, {}, "")
    database.update_webhook_response(failed, 500, {}, "", success=False)
    turn_back(database, old, "updated_at", utc_now() - timedelta(minutes=2))

    expected = {"total_requests": 2, "successful_requests": 1, "failed_requests": 1}
    assert database.get_rate_limit_stats("https://example.org") == expected
    assert database.get_rate_limit_stats("https://example%")["total_requests"] == 0
