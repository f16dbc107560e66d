"""The schema of DURABLE mode: what it holds, who is let in, and upgrades that race, are killed, and keep LOCAL runs."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator

import pytest
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from highway_core.errors import ConfigError, ConnectionLostError, SchemaError
from highway_core.lifecycle import ApprovalStatus, RunMode, RunStatus, TaskStatus
from highway_core.persistence import schema, schema_version
from highway_core.persistence.database import DatabaseManager
from highway_core.persistence.durable_connection import DurableConnection
from highway_core.persistence.location import locate
from highway_core.persistence.manager import RunChanges
from highway_core.persistence.models import Base
from highway_core.persistence.schema_version import CREATE_VERSION_TABLE, HEAD
from highway_core.persistence.sql_persistence import SQLPersistenceManager
from tests.stored_runs import new_run, task
from tests.waiting import eventually

OF_RUNS = {
    "approvals",
    "event_log",
    "task_dependencies",
    "task_executions",
    "task_queue",
    "tasks",
    "workflow_memory",
    "workflow_results",
    "workflows",
}
NOT_OF_RUNS = {
    "alembic_version",
    "api_keys",
    "artifacts",
    "circuit_breakers",
    "counters",
    "events",
    "idempotency_keys",
    "idempotent_results",
    "queue_limits",
    "schedules",
    "webhooks",
    "workers",
    "workflow_definitions",
}


@pytest.fixture
def database(postgres_url: str) -> Iterator[DurableConnection]:
    connection = DurableConnection(postgres_url)
    yield connection
    connection.close()


def make_0001(url: str) -> None:
    """A database of the release before DURABLE mode, with one run in it."""
    engine = create_engine(locate(engine_url=url).url, poolclass=NullPool)
    with engine.begin() as connection:
        Base.metadata.create_all(connection)
        connection.exec_driver_sql(CREATE_VERSION_TABLE)
        connection.exec_driver_sql("INSERT INTO alembic_version VALUES ('highway_0001')")
        connection.exec_driver_sql(
            "INSERT INTO workflows (workflow_id, workflow_name, mode, status, start_time, updated_at, owner)"
            " VALUES ('old', 'hello', 'LOCAL', 'completed', now(), now(), '');"
            "INSERT INTO tasks (workflow_id, task_id, operator_type, dependencies_json, ordinal, created_at,"
            " updated_at, status, attempt, result_value_json)"
            " VALUES ('old', 'greet', 'task', '[]', 1, now(), now(), 'completed', 1, '\"hi\"');"
            "INSERT INTO workflow_memory (id, workflow_id, memory_key, memory_value_json, created_at, updated_at)"
            " VALUES (1, 'old', 'count', '2', now(), now());"
            "INSERT INTO idempotent_results VALUES ('key', '1', 'old', now())"
        )


def catalogue(database: DurableConnection) -> list[tuple[object, ...]]:
    return database.fetch(
        "SELECT relname, attname, atttypid, attnotnull FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid"
        " WHERE relnamespace = 'public'::regnamespace UNION ALL"
        " SELECT proname, proargnames::text, 0, false FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
        " ORDER BY 1, 2"
    )


# -- what it holds


def test_every_table_of_runs_leads_its_key_with_the_run(database: DurableConnection, postgres_url: str) -> None:
    schema.upgrade(postgres_url)

    first_columns = dict(
        database.fetch(
            "SELECT c.relname::text, a.attname::text FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid"
            " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]"
            " WHERE i.indisprimary AND c.relnamespace = 'public'::regnamespace"
        )
    )

    assert set(first_columns) == OF_RUNS | NOT_OF_RUNS
    assert {name for name, column in first_columns.items() if column == "workflow_id"} == OF_RUNS


def test_the_statuses_that_the_tables_take_are_those_of_the_lifecycle(
    database: DurableConnection, postgres_url: str
) -> None:
    schema.upgrade(postgres_url)

    checks = {
        name: set(re.findall(r"\b[\w]+\b", re.sub(r"::\w+", "", " ".join(re.findall(r"'([^']*)'", text)))))
        for name, text in database.fetch(
            "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint"
            " WHERE contype = 'c' AND connamespace = 'public'::regnamespace"
        )
    }

    assert checks["ck_workflows_mode"] == set(RunMode)
    assert checks["ck_workflows_status"] == set(RunStatus)
    assert checks["ck_tasks_status"] == checks["ck_task_executions_status"] == set(TaskStatus)
    assert checks["ck_approvals_status"] == set(ApprovalStatus)
    assert checks["ck_task_queue_status"] == {
        TaskStatus.QUEUED,
        TaskStatus.RUNNING,
        TaskStatus.WAITING_FOR_TIMER,
        TaskStatus.WAITING_FOR_EVENT,
        RunStatus.PAUSED,
    }


# -- who is let in


def test_a_new_database_is_made_ready_and_one_that_is_ready_is_left_alone(each_postgres_url: str) -> None:
    assert schema.current(each_postgres_url) is None
    assert schema.check(each_postgres_url) == ["has no schema: run 'highway durable db upgrade'"]

    schema.require_schema(each_postgres_url)
    schema.require_schema(each_postgres_url)

    assert schema.current(each_postgres_url) == HEAD
    assert schema.check(each_postgres_url) == []
    assert schema.upgrade(each_postgres_url) == HEAD
    assert schema.check(each_postgres_url) == []


def test_an_older_schema_is_refused_until_it_is_upgraded(postgres_url: str) -> None:
    make_0001(postgres_url)

    with pytest.raises(SchemaError, match=rf"has schema highway_0001, .* needs {HEAD}: run 'highway durable db up"):
        schema.require_schema(postgres_url)
    assert schema.current(postgres_url) == "highway_0001"
    assert len(schema.check(postgres_url)) == 1

    schema.upgrade(postgres_url)
    schema.require_schema(postgres_url)
    assert schema.check(postgres_url) == []


def test_a_newer_schema_is_refused(database: DurableConnection, postgres_url: str) -> None:
    schema.upgrade(postgres_url)
    database.run("UPDATE alembic_version SET version_num = 'highway_9999'")

    for refuse in (schema.require_schema, schema.upgrade):
        with pytest.raises(SchemaError, match=r"has schema highway_9999, which this version of Highway does not know"):
            refuse(postgres_url)
    assert schema.current(postgres_url) == "highway_9999"
    assert schema.check(postgres_url) != []


def test_runs_of_the_original_library_are_not_upgraded_unasked(database: DurableConnection, postgres_url: str) -> None:
    database.run("CREATE TABLE workflows (workflow_id text, workflow_name text, status text)")

    with pytest.raises(SchemaError, match="holds runs of a Highway without DURABLE mode: run 'highway durable db up"):
        schema.require_schema(postgres_url)


@pytest.mark.parametrize(
    ("statements", "told"),
    [
        ("SELECT 1", "has no schema: run 'highway durable db upgrade'"),
        ("CREATE TABLE workflows (workflow_id text, workflow_name text, status text)", "durable db upgrade'"),
        ("CREATE TABLE workflows (id integer)", "holds tables called workflows that are not Highway's. Name another"),
        ("CREATE TABLE tasks (id integer, title text)", "holds tables called tasks that are not Highway's."),
        (f"{CREATE_VERSION_TABLE}; INSERT INTO alembic_version VALUES ('9a4f')", "has schema 9a4f, which this version"),
    ],
)
def test_an_upgrade_is_advised_where_it_would_be_made(
    database: DurableConnection, postgres_url: str, statements: str, told: str
) -> None:
    database.run(statements)
    assert told in schema.standing(postgres_url)
    assert schema.check(postgres_url) == [schema.standing(postgres_url)]
    if "durable db upgrade" in told:
        schema.upgrade(postgres_url)
        assert schema.standing(postgres_url) == f"has schema {HEAD}"
    else:
        assert "durable db upgrade" not in schema.standing(postgres_url)
        with pytest.raises(SchemaError) as refused:
            schema.upgrade(postgres_url)
        assert schema.standing(postgres_url) in str(refused.value)


def test_functions_of_another_version_are_refused_and_renewed(database: DurableConnection, postgres_url: str) -> None:
    schema.upgrade(postgres_url)
    database.run("CREATE OR REPLACE FUNCTION highway_functions_version() RETURNS text LANGUAGE sql AS $$ SELECT '0' $$")
    database.run("CREATE FUNCTION highway_gone(integer) RETURNS integer LANGUAGE sql AS $$ SELECT 1 $$")

    with pytest.raises(
        SchemaError, match="has the functions of another version of Highway: run 'highway durable db up"
    ):
        schema.require_schema(postgres_url)
    schema.upgrade(postgres_url)

    schema.require_schema(postgres_url)
    assert database.value("SELECT to_regproc('highway_gone')") is None


def test_what_was_lost_or_changed_is_named(database: DurableConnection, postgres_url: str) -> None:
    schema.upgrade(postgres_url)
    database.run("DROP INDEX idx_queue_due")
    database.run("ALTER TABLE tasks ALTER COLUMN scope DROP NOT NULL")
    database.run("ALTER TABLE approvals DROP CONSTRAINT ck_approvals_decided")
    database.run("CREATE INDEX of_an_operator ON tasks (worker_id)")
    database.run(
        "CREATE OR REPLACE FUNCTION highway_wake(p_limit integer) RETURNS integer LANGUAGE sql AS $$ SELECT 0 $$"
    )

    assert schema.check(postgres_url) == [
        "column tasks.scope is not as it should be",
        "constraint ck_approvals_decided is missing",
        "function highway_wake is not as it should be",
        "index idx_queue_due is missing",
    ]
    assert schema.current(postgres_url) == HEAD


def test_a_postgresql_that_is_too_old_is_refused(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema_version, "_OLDEST_POSTGRESQL", 99)

    for opened in (schema.require_schema, schema.upgrade, schema.check, lambda url: DatabaseManager(engine_url=url)):
        with pytest.raises(SchemaError, match=r"is on PostgreSQL \d+, and Highway needs 99 or newer"):
            opened(postgres_url)


def test_another_kind_of_database_and_one_that_is_not_there_are_refused(tmp_path: object) -> None:
    with pytest.raises(ConfigError, match="DURABLE mode needs PostgreSQL, not the SQLite database"):
        schema.require_schema(f"sqlite:///{tmp_path}/runs.sqlite3")
    with pytest.raises(ConnectionLostError, match=r"could not be reached.*start the server or correct"):
        schema.require_schema("postgresql://nobody@127.0.0.1:9/none")


def test_looking_at_a_schema_that_is_ready_needs_no_sqlalchemy(postgres_url: str) -> None:
    schema.upgrade(postgres_url)
    program = (
        "import sys; from highway_core.persistence.schema import require_schema; require_schema(sys.argv[1]);"
        "print(*sorted({'sqlalchemy', 'alembic', 'pydantic'} & set(sys.modules)))"
    )

    done = subprocess.run([sys.executable, "-c", program, postgres_url], capture_output=True, text=True, check=True)

    assert done.stdout.split() == []


# -- upgrades


def test_an_upgrade_keeps_the_runs_of_local_mode(database: DurableConnection, postgres_url: str) -> None:
    make_0001(postgres_url)

    schema.upgrade(postgres_url)

    manager = SQLPersistenceManager(engine_url=postgres_url)
    old = manager.load_run("old")
    assert old is not None
    assert (old.status, old.tasks["greet"].result_json) == (RunStatus.COMPLETED, '"hi"')
    state, _ = manager.load_workflow_state("old")
    assert state is not None
    assert state.memory == {"count": 2}
    assert database.fetch("SELECT idempotency_key, result_json, task_id FROM idempotent_results") == [
        ("key", "1", None)
    ]
    reader = DatabaseManager(engine_url=postgres_url)
    assert [one["task_id"] for one in reader.get_tasks_by_workflow("old")] == ["greet"]

    run = new_run()
    manager.create_run(run)
    manager.save(RunChanges(run.run_id, tasks=[task()]))
    saved = manager.load_run(run.run_id)
    assert saved is not None
    assert saved.tasks == {"start": task()}
    manager.close()
    reader.close_all_connections()


_UPGRADE = """
import sys
from highway_core.persistence import schema
import highway_core.persistence.schema_upgrade
print("ready", flush=True)
sys.stdin.readline()
getattr(schema, sys.argv[2])(sys.argv[1])
"""


def elsewhere(url: str, function: str) -> subprocess.Popen[str]:
    """A process that is ready to call a function of ``schema`` and waits for a line."""
    process = subprocess.Popen(
        [sys.executable, "-c", _UPGRADE, url, function],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize(("before", "function"), [("new", "require_schema"), ("new", "upgrade"), ("0001", "upgrade")])
def test_five_processes_may_upgrade_at_once(postgres_url: str, before: str, function: str) -> None:
    if before == "0001":
        make_0001(postgres_url)
    racers = [elsewhere(postgres_url, function) for _ in range(5)]
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()

    outcomes = [(racer.communicate(timeout=60)[1], racer.returncode) for racer in racers]

    assert outcomes == [("", 0)] * 5
    assert schema.current(postgres_url) == HEAD
    assert schema.check(postgres_url) == []


def test_an_upgrade_that_is_killed_in_the_middle_changes_nothing(
    database: DurableConnection, postgres_url: str
) -> None:
    make_0001(postgres_url)
    before = catalogue(database)
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    own = database.value("SELECT pg_backend_pid()")
    reader = DurableConnection(postgres_url)
    with reader.transaction():
        reader.fetch("SELECT count(*) FROM tasks")  # Its lock stops the upgrade when "workflows" has been altered.
        process = elsewhere(postgres_url, "upgrade")
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
        assert eventually(lambda: database.value(waiting) == 1)
        process.kill()
        process.communicate(timeout=10)
    reader.close()
    others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> %s"
    assert eventually(lambda: database.value(others, [own]) == 0)

    assert catalogue(database) == before
    assert schema.current(postgres_url) == "highway_0001"

    schema.upgrade(postgres_url)
    assert schema.check(postgres_url) == []
    assert database.value("SELECT count(*) FROM workflows") == 1
