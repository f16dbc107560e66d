"""``DatabaseManager``: which database it opens, its transactions, and what it reads of runs and tasks."""

from __future__ import annotations

import stat
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from highway_core.config import current_settings
from highway_core.errors import ConfigError, RunConflictError, StorageError
from highway_core.lifecycle import RunStatus, TaskStatus
from highway_core.persistence.database import DatabaseManager, get_db_manager, token_digest
from highway_core.persistence.manager import ResultRecord, RunChanges, RunUpdate
from highway_core.persistence.models import Task, TaskExecution, Workflow
from highway_core.persistence.sql_persistence import SQLPersistenceManager
from tests.stored_runs import NOW, attempt, new_run, task

TASKS = [
    {"task_id": "ask", "operator_type": "task", "function": "human.request_approval", "kwargs": {"a": 1}},
    {"task_id": "pay", "operator_type": "task", "args": [1], "dependencies": ["ask", "ask"], "result_key": "paid"},
]


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite:///{tmp_path / 'runs.sqlite3'}"


@pytest.fixture
def database(url: str) -> DatabaseManager:
    return get_db_manager(engine_url=url)


# -- which database


def test_every_path_and_url_is_its_own_database(tmp_path: Path) -> None:
    first, second = get_db_manager(tmp_path / "a.sqlite3"), get_db_manager(engine_url=f"sqlite:///{tmp_path}/b.sqlite3")

    first.create_durable_workflow("r", "hello", None, {}, [])

    assert second.load_workflow("r") is None
    assert get_db_manager(tmp_path / "a.sqlite3").load_workflow("r") is not None
    assert first.engine_url == f"sqlite:///{tmp_path}/a.sqlite3"


def test_managers_of_one_database_share_its_connections(tmp_path: Path) -> None:
    first, second = get_db_manager(tmp_path / "a.sqlite3"), get_db_manager(tmp_path / "a.sqlite3")

    assert first.engine is second.engine
    with second.session_scope() as session:
        first.close_all_connections()
        assert session.execute(text("SELECT 1")).scalar() == 1
    assert second.health_check()
    assert first.health_check()


def test_without_arguments_the_settings_say_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIGHWAY_DATABASE_URL", f"sqlite:///{tmp_path}/from-settings.sqlite3")
    current_settings.cache_clear()
    try:
        assert get_db_manager().engine_url == f"sqlite:///{tmp_path}/from-settings.sqlite3"
        SQLPersistenceManager().close()
    finally:
        current_settings.cache_clear()
    assert (tmp_path / "from-settings.sqlite3").exists()


def test_a_deleted_file_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite3"
    get_db_manager(path).create_durable_workflow("r", "hello", None, {}, [])
    for file in tmp_path.iterdir():
        file.unlink()

    database = get_db_manager(path)

    assert database.load_workflow("r") is None
    assert database.create_durable_workflow("r", "hello", None, {}, []) == "r"


def test_a_database_file_is_private_and_its_folders_are_made(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "runs.sqlite3"
    manager = SQLPersistenceManager(path)
    manager.create_run(new_run())

    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}

    assert modes == {"runs.sqlite3": 0o600, "runs.sqlite3-wal": 0o600, "runs.sqlite3-shm": 0o600}
    manager.close()


def test_a_database_in_memory_belongs_to_its_manager() -> None:
    first, second = SQLPersistenceManager(":memory:"), SQLPersistenceManager(engine_url="sqlite://")
    run = new_run()
    first.create_run(run)
    database = DatabaseManager(engine_url="sqlite:///:memory:")
    database.create_durable_workflow("r", "hello", None, {}, [])

    assert first.load_run(run.run_id) is not None
    assert second.load_run(run.run_id) is None
    assert database.load_workflow("r") is not None


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("sqlite://runs.db", "three slashes"),
        ("sqlite:///runs.db?mode=ro", "not supported"),
        ("mysql://h/d", "mysql"),
        ("runs.db", "needs a scheme"),
        ("postgresql://me@host:port/runs", "port"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused(url: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        get_db_manager(engine_url=url)


def test_a_server_that_cannot_be_reached_is_named_without_its_password() -> None:
    for open_it in (DatabaseManager, SQLPersistenceManager):
        with pytest.raises(StorageError) as caught:
            open_it(engine_url="postgresql://me:s3cret%21@127.0.0.1:9/runs")
        message = str(caught.value)
        assert "PostgreSQL database 'runs' at 127.0.0.1:9" in message
        assert "start the server or correct HIGHWAY_DATABASE_URL" in message
        assert "s3cret" not in message


# -- transactions


def test_a_session_commits_at_the_end_and_rolls_back_on_an_exception(database: DatabaseManager) -> None:
    with database.session_scope() as session:
        session.add(Workflow(workflow_id="kept", workflow_name="hello"))
    with pytest.raises(ZeroDivisionError), database.session_scope() as session:
        session.add(Workflow(workflow_id="lost", workflow_name="hello"))
        session.flush()
        raise ZeroDivisionError

    assert database.load_workflow("kept") is not None
    assert database.load_workflow("lost") is None


def test_what_the_database_refuses_is_a_storage_error(database: DatabaseManager) -> None:
    for status in ("RUNNING", "done", ""):
        refused = pytest.raises(StorageError, match="could not carry out a transaction")
        with refused as caught, database.session_scope() as session:
            session.add(Workflow(workflow_id="r", workflow_name="hello", status=status))
        assert isinstance(caught.value.__cause__, IntegrityError)
    assert database.load_workflow("r") is None


def test_rows_can_be_read_after_their_session(database: DatabaseManager) -> None:
    database.create_durable_workflow("r", "hello", "ask", {"a": [1]}, TASKS)

    (run,) = database.get_workflows_by_status(RunStatus.PENDING)
    row = database.get_task_by_id("r", "pay")

    assert (run.name, run.variables, run.start_task) == ("hello", {"a": [1]}, "ask")
    assert row is not None
    assert (row.args, row.kwargs, row.dependencies_list, row.command) == ([1], {}, ["ask"], None)


def test_many_threads_read_and_write_at_the_same_time(database: DatabaseManager) -> None:
    database.create_durable_workflow("r", "hello", None, {}, TASKS)
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for step in range(15):
                database.store_result("r", "pay", f"{number}", step)
                assert len(database.get_tasks_by_workflow("r")) == 2
                database.create_durable_workflow(f"r{number}.{step}", "hello", None, {}, TASKS)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []
    assert len(database.get_workflows_by_status("PENDING")) == 91


def test_health_says_whether_the_database_answers(tmp_path: Path) -> None:
    database = get_db_manager(tmp_path / "runs.sqlite3")
    assert database.health_check()

    database.close_all_connections()
    (tmp_path / "runs.sqlite3").write_bytes(b"something else" * 500)

    assert not database.health_check()


# -- reading


def test_a_local_run_is_read_as_dicts(database: DatabaseManager, url: str) -> None:
    manager = SQLPersistenceManager(engine_url=url)
    run = new_run(parent_run_id="parent")
    manager.create_run(run)
    manager.save(
        RunChanges(
            run.run_id,
            tasks=[task("b", TaskStatus.FAILED, error_message="it broke"), task("a")],
            run=RunUpdate(RunStatus.FAILED, "b: it broke", '{"n": 1}', NOW + timedelta(seconds=9)),
        )
    )
    manager.close()

    found = database.load_workflow(run.run_id)
    rows = database.get_tasks_by_workflow(run.run_id)

    assert found is not None
    assert found.items() >= {
        "workflow_id": run.run_id, "name": "hello", "mode": "LOCAL", "status": "failed", "start_task": "start",
        "variables": {"region": "eu"}, "inputs": {"day": "2024-05-01"}, "result": {"n": 1},
        "error_message": "b: it broke", "created_at": NOW, "end_time": NOW + timedelta(seconds=9),
        "parent_workflow_id": "parent",
    }.items()  # fmt: skip
    assert [row["task_id"] for row in rows] == ["b", "a"]
    assert rows[0].items() >= {
        "operator_type": "task", "status": "failed", "result_key": "greeting", "dependencies": ["start"],
        "started_at": NOW + timedelta(seconds=1), "completed_at": NOW + timedelta(seconds=2),
        "error_message": "it broke", "attempt": 1, "result": {"ok": True},
    }.items()  # fmt: skip
    assert database.load_workflow("nobody") is None
    assert database.get_tasks_by_workflow("nobody") == []


def test_a_durable_run_is_created_whole_and_pending(database: DatabaseManager) -> None:
    assert database.create_durable_workflow("r", "expenses", "ask", {}, TASKS) == "r"

    assert [row["status"] for row in database.get_tasks_by_workflow("r")] == [TaskStatus.PENDING] * 2
    assert [row.task_id for row in database.get_tasks_by_status("r", "PENDING")] == ["ask", "pay"]
    assert database.get_task_dependencies("r", "pay") == ["ask"]
    assert database.get_task_dependencies("r", "nobody") == []
    assert database.get_workflows_by_status("PENDING", mode="LOCAL") == []
    with pytest.raises(RunConflictError, match="Run 'r' exists already"):
        database.create_durable_workflow("r", "other", None, {}, [])


def test_tasks_are_found_by_run_and_id_together(database: DatabaseManager) -> None:
    database.create_durable_workflow("one", "hello", None, {}, TASKS)
    database.create_durable_workflow("two", "hello", None, {}, TASKS[:1])

    assert database.get_task_by_id("one", "pay") is not None
    assert database.get_task_by_id("two", "pay") is None


def test_a_token_is_looked_up_by_its_digest_only(database: DatabaseManager) -> None:
    database.create_durable_workflow("r", "hello", None, {}, TASKS)
    with database.session_scope() as session:
        row = session.get(Task, ("r", "ask"))
        assert row is not None
        row.event_token = token_digest("t0ken")

    found = database.get_task_by_token("t0ken")

    assert found is not None
    assert found.task_id == "ask"
    assert database.get_task_by_token(token_digest("t0ken")) is None
    assert database.get_task_by_token("other") is None


def test_a_result_is_stored_under_its_key_and_replaced(database: DatabaseManager, url: str) -> None:
    manager = SQLPersistenceManager(engine_url=url)
    run = new_run()
    manager.create_run(run)
    manager.save(RunChanges(run.run_id, results=[ResultRecord("a", "first", "1")]))
    database.store_result(run.run_id, "a", "report", {"id": 1})
    database.store_result(run.run_id, "a", "report", {"id": 2})

    state, _ = manager.load_workflow_state(run.run_id)

    assert state is not None
    assert state.results == {"first": 1, "report": {"id": 2}}
    manager.close()


def test_every_attempt_is_kept_also_after_a_resume_and_once_each(database: DatabaseManager, url: str) -> None:
    manager = SQLPersistenceManager(engine_url=url)
    run = new_run()
    manager.create_run(run)
    again = attempt(started_at=NOW + timedelta(hours=1), completed_at=NOW + timedelta(hours=1, milliseconds=250))
    for attempts in ([attempt(), attempt(number=2)], [attempt()], [again]):
        manager.save(RunChanges(run.run_id, attempts=attempts))

    with database.session_scope() as session:
        rows = session.query(TaskExecution).order_by(TaskExecution.started_at, TaskExecution.attempt).all()

    assert [(row.attempt, row.duration_ms, row.status) for row in rows] == [
        (1, 1000, "failed"),
        (2, 1000, "failed"),
        (1, 250, "failed"),
    ]
    manager.close()


def test_moments_are_aware_and_in_utc_wherever_they_come_from(database: DatabaseManager) -> None:
    from datetime import timezone

    east = timezone(timedelta(hours=5, minutes=30))
    with database.session_scope() as session:
        session.add(Workflow(workflow_id="r", workflow_name="hello", start_time=NOW.astimezone(east)))

    found = database.load_workflow("r")

    assert found is not None
    assert found["created_at"] == NOW
    assert found["created_at"].tzinfo is UTC
    with pytest.raises(Exception, match="without time zone"), database.session_scope() as session:
        session.add(Workflow(workflow_id="s", workflow_name="hello", start_time=datetime(2024, 1, 1)))  # noqa: DTZ001


def test_the_other_names_lead_to_the_same_classes() -> None:
    from highway_core.persistence import database_manager, db_storage, file_storage, sql_persistence_manager

    assert database_manager.DatabaseManager is DatabaseManager
    assert database_manager.get_db_manager is get_db_manager
    assert sql_persistence_manager.SQLPersistenceManager is SQLPersistenceManager
    assert db_storage.FilePersistenceManager is file_storage.FilePersistenceManager
