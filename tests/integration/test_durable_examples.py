"""The examples of DURABLE mode are valid, and end as they say, on a real database with a worker and a Scheduler."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from highway_core.engine.durable.operations import StartRequest
from highway_core.engine.graph import CompiledWorkflow
from highway_core.engine.loader import compile_document, read_source
from highway_core.persistence.durable_connection import ConnectionPool, DurableConnection
from highway_core.persistence.limit_store import Limit, LimitStore
from highway_core.services.schedules import Schedules
from highway_core.tools.registry import ToolRegistry
from tests.command_line import CommandLine
from tests.conformance.durable_mode import DurableMode
from tests.documentation import ROOT
from tests.postgres import new_database
from tests.waiting import eventually

EXAMPLES = ROOT / "examples" / "durable"


@pytest.fixture(scope="module")
def url(postgres_server: str) -> Iterator[str]:
    with new_database(postgres_server) as made:
        yield made


@pytest.fixture(scope="module")
def mode(url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DurableMode]:
    home: Path = tmp_path_factory.mktemp("home")
    opened = DurableMode("examples", url, 1, home)
    shutil.copy(EXAMPLES / "open_account.yaml", home / "workflows")
    yield opened
    opened.close()


def compiled(name: str) -> CompiledWorkflow:
    return compile_document(read_source(EXAMPLES / name), ToolRegistry())[0]


def start(mode: DurableMode, name: str, **inputs: Any) -> str:
    return mode.runs.start(StartRequest(compiled(name), inputs)).run_id


def tasks_of(mode: DurableMode, run_id: str) -> dict[str, int]:
    """The tasks of a run that has completed, by status."""
    find = "SELECT status, error_message FROM workflows WHERE workflow_id = %s"
    assert eventually(lambda: mode.rows(find, run_id)[0][0] in {"completed", "failed", "cancelled"}, within=60)
    assert mode.rows(find, run_id) == [("completed", None)]
    return Counter(status for (status,) in mode.rows("SELECT status FROM tasks WHERE workflow_id = %s", run_id))


@pytest.mark.parametrize("file", sorted(path.name for path in EXAMPLES.iterdir()))
def test_an_example_is_valid_and_says_how_it_ends(file: str, tmp_path: Path) -> None:
    done = CommandLine(tmp_path)("validate", str(EXAMPLES / file), "--json")
    assert (done.code, done.json["files"][0]["warnings"]) == (0, []), done.err
    assert "# Ends: completed" in (EXAMPLES / file).read_text(encoding="utf-8")


def test_the_trial_ends_after_its_days(mode: DurableMode) -> None:
    assert tasks_of(mode, start(mode, "trial_reminder.yaml", days="PT0.05S")) == {"completed": 5}


def test_an_order_is_shipped_when_it_is_paid(mode: DurableMode) -> None:
    run_id = start(mode, "await_payment.yaml", order=4711)
    mode.runs.emit("paid-4711", {"amount": 120}, "test")
    assert tasks_of(mode, run_id) == {"completed": 3, "skipped": 1}


def test_an_order_that_nobody_pays_is_cancelled(mode: DurableMode) -> None:
    run_id = start(mode, "await_payment.yaml", order=4712)
    due = "UPDATE task_queue SET due_at = now() WHERE workflow_id = %s AND kind = 'event' RETURNING 1"
    assert eventually(lambda: bool(mode.rows(due, run_id)), within=30)
    assert tasks_of(mode, run_id) == {"completed": 2, "failed": 1, "skipped": 1}


def test_the_report_runs_when_it_is_triggered(mode: DurableMode, url: str) -> None:
    schedules = Schedules(DurableConnection(url))
    schedules.register(compiled("nightly_report.yaml"), timezone="Europe/Oslo")
    run_id = schedules.trigger("nightly_report", "test")
    schedules.close()
    assert tasks_of(mode, run_id) == {"completed": 2}


def test_every_account_is_a_run_of_its_own(mode: DurableMode) -> None:
    run_id = mode.runs.start(StartRequest(compiled("onboarding.yaml"), {"who": "Ada"}, run_id="ada")).run_id
    assert tasks_of(mode, run_id) == {"completed": 2}
    below = mode.rows("SELECT workflow_id FROM workflows WHERE parent_workflow_id = %s ORDER BY 1", run_id)
    assert below == [("ada/accounts/mail",), ("ada/accounts/payroll",)]


def test_the_fan_out_ends_within_its_limit(mode: DurableMode, url: str) -> None:
    pool = ConnectionPool(url)
    LimitStore(pool).put(Limit("workflow", "import_customers", max_running=4, rate_per_second=200))
    pool.close()
    assert tasks_of(mode, start(mode, "import_customers.yaml")) == {"completed": 14}
