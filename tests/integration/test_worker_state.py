"""What workers share, seen through whole runs: breakers, artifacts, tokens of approvals."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

from highway_core.persistence.artifact_store import ArtifactStore
from highway_core.persistence.database import get_db_manager
from highway_core.services.worker import Worker
from highway_core.tools.artifacts import artifact_path
from highway_core.utils.approval_token import approval_token, token_digest
from highway_core.utils.secret_key import secret_key
from tests.durable_workers import workers
from tests.gauge import GAUGE
from tests.waiting import eventually


def test_a_breaker_opens_for_all_runs_and_workers(durable_url: str, tmp_path: Path) -> None:
    GAUGE.clear()
    policy = {"failure_threshold": 3, "isolation_duration": "PT1H"}
    bad = {"operator_type": "task", "function": "test.broken", "args": ["call"], "circuit_breaker_policy": policy}
    with workers(durable_url, tmp_path, 3, concurrency=1) as office:
        runs = [office.submit({"bad": bad}, name="fragile") for _ in range(3)]
        assert office.ended(*runs) == ["failed"] * 3
        more = [office.submit({"bad": bad}, name="fragile") for _ in range(6)]
        assert office.ended(*more) == ["failed"] * 6
        other = office.submit({"bad": bad}, name="another")
        assert office.ended(other) == ["failed"]
        errors = {
            error for (error,) in office.rows("SELECT error_message FROM workflows WHERE workflow_id = ANY (%s)", more)
        }

    assert len(GAUGE.begun["call"]) == 3 + 1
    assert all("circuit breaker of 'bad' is open" in error for error in errors)


def test_an_artifact_is_fetched_from_the_database_by_whoever_needs_it(durable_url: str, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("shop.py", "def add(context, a, b):\n    return a + b\n")
    with workers(durable_url, tmp_path, 2) as office:
        artifact = ArtifactStore(office.pool).put(buffer.getvalue())
        call = {"operator_type": "task", "function": "tools.python.run", "kwargs": {"artifact_id": artifact}}
        run = office.submit({"sum": {**call, "args": ["shop.add", 2, 3]}})
        missing = {**call, "args": ["shop.add", 2, 3], "kwargs": {"artifact_id": "0" * 64}}
        lost = office.submit({"sum": missing})
        assert office.ended(run, lost) == ["completed", "failed"]
        ((result,),) = office.rows("SELECT result_json FROM workflows WHERE workflow_id = %s", run)
        ((error,),) = office.rows("SELECT error_message FROM workflows WHERE workflow_id = %s", lost)

        assert result == "5"
        assert "has to be uploaded first" in error
        assert artifact_path(artifact, office.settings).read_bytes() == buffer.getvalue()


def test_the_task_that_waits_for_a_person_is_found_by_the_token_of_its_link(durable_url: str, tmp_path: Path) -> None:
    ask = {
        "operator_type": "task",
        "function": "human.request_approval",
        "args": ["Pay?", "boss@example.com"],
        "timeout_policy": {"timeout": "PT1H"},
    }
    with workers(durable_url, tmp_path, 2) as office:
        run = office.submit(
            {"ask": ask, "beside": {"operator_type": "task", "function": "test.held", "args": ["x", 0]}}
        )
        found = office.rows
        assert eventually(lambda: found("SELECT approval_id FROM approvals WHERE workflow_id = %s", run))
        ((approval,),) = found("SELECT approval_id FROM approvals WHERE workflow_id = %s", run)
        token = approval_token(secret_key(office.settings.secret_key, office.settings.home), approval)
        database = get_db_manager(engine_url=office.settings.database_url)

        task = database.get_task_by_token(token)

        assert task is not None
        assert (task.workflow_id, task.task_id, task.status) == (run, "ask", "WAITING_FOR_EVENT")
        assert database.get_task_by_token(token_digest(token)) is None
        office.runs.cancel(run, "the test")
        assert database.get_task_by_token(token) is None
        assert found("SELECT event_token FROM tasks WHERE event_token IS NOT NULL") == []
        database.close_all_connections()


def test_a_worker_knows_its_tools_and_its_database(durable_url: str, tmp_path: Path) -> None:
    with workers(durable_url, tmp_path, 1) as office:
        (worker,) = office.workers
        assert isinstance(worker, Worker)
        assert worker.tool_registry.resolve("test.held").stoppable is False
        assert worker.poll_interval == office.settings.poll_seconds
        run = office.submit({"t": {"operator_type": "task", "function": "test.held", "args": ["x", 0]}})
        assert office.ended(run) == ["completed"]
        stored = worker.db_manager.load_workflow(run)
        assert stored is not None
        assert stored["status"] == "completed"
        worker.db_manager.close_all_connections()
