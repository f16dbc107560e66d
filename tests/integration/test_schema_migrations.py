"""The schema: made at once or by the migrations the same, upgraded from the original library, safe to race for."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, create_engine, create_mock_engine, inspect
from sqlalchemy.pool import NullPool

from highway_core.errors import StorageError
from highway_core.lifecycle import RunMode, RunStatus, TaskStatus
from highway_core.persistence.database import DatabaseManager
from highway_core.persistence.engines import engine_for
from highway_core.persistence.location import locate
from highway_core.persistence.manager import RunChanges
from highway_core.persistence.migrations.upgrade import upgrade_to_head
from highway_core.persistence.models import Base
from highway_core.persistence.schema_upgrade import ensure_schema
from highway_core.persistence.schema_version import HEAD, KNOWN
from highway_core.persistence.sql_persistence import SQLPersistenceManager
from highway_core.persistence.sqlite_schema import SCHEMA
from tests.original_schema import VINTAGES, make_original
from tests.stored_runs import new_run, task


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite:///{tmp_path / 'runs.sqlite3'}"


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    engine = engine_for(locate(engine_url=url))
    yield engine
    engine.dispose()


def shape(engine: Engine) -> dict[str, Any]:
    """Everything about the tables that a query can tell."""
    if engine.dialect.name == "sqlite":
        query = "SELECT name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'"
    else:
        query = """
            SELECT table_name || '.' || column_name || '#' || ordinal_position,
                data_type || is_nullable || coalesce(column_default, '')
            FROM information_schema.columns WHERE table_schema = 'public'
            UNION ALL SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
            UNION ALL SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint
            WHERE connamespace = 'public'::regnamespace"""
    with engine.connect() as connection:
        rows = connection.exec_driver_sql(query).all()
    return {name: "".join((text or "").split()) for name, text in rows}


def rows(engine: Engine, query: str) -> list[Any]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(query)]


def empty(connection: Connection) -> None:
    if connection.dialect.name == "sqlite":
        Base.metadata.drop_all(connection)
        connection.exec_driver_sql("DROP TABLE alembic_version")
    else:
        connection.exec_driver_sql("DROP SCHEMA public CASCADE")
        connection.exec_driver_sql("CREATE SCHEMA public")


def test_the_migrations_make_what_the_models_say(engine: Engine, tmp_path: Path) -> None:
    ensure_schema(engine)
    direct = shape(engine)
    with engine.begin() as connection:
        empty(connection)
        upgrade_to_head(connection)

    assert shape(engine) == direct
    assert rows(engine, "SELECT version_num FROM alembic_version") == [(HEAD,)]


def test_the_newest_revision_is_the_one_that_the_code_expects() -> None:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    import highway_core.persistence.migrations as migrations

    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    scripts = ScriptDirectory.from_config(config)
    assert scripts.get_heads() == [HEAD]
    assert {script.revision for script in scripts.walk_revisions()} == KNOWN


@pytest.mark.parametrize("vintage", VINTAGES)
def test_the_runs_of_the_original_library_are_kept(engine: Engine, url: str, vintage: str) -> None:
    make_original(engine, vintage)

    manager = SQLPersistenceManager(engine_url=url)

    done = manager.load_run("done")
    assert done is not None
    assert (done.status, done.error_message, done.variables) == (RunStatus.COMPLETED, None, {"a": 1})
    assert (done.record.workflow_name, done.record.mode) == ("Tricky Checksum Validator", RunMode.LOCAL)
    assert (done.record.start_task, done.record.owner) == (None, "")
    assert done.record.started_at == datetime(2023, 11, 5, 8, 0, 0, 250000, tzinfo=UTC)
    assert list(done.tasks) == ["first", "second"]
    first = done.tasks["first"]
    assert (first.columns.function, first.columns.args_json) == ("tools.log.info", '["a"]')
    assert (first.status, first.result_json) == (TaskStatus.COMPLETED, '{"said": "a"}')
    assert json.loads(done.tasks["second"].columns.dependencies_json) == ["first"]
    state, completed = manager.load_workflow_state("done")
    assert state is not None
    assert (state.results, completed) == ({"greeting": {"said": "a"}}, {"first", "second"})
    assert state.memory == ({} if vintage == "first" else {"count": 2})
    manager.close()


@pytest.mark.parametrize("vintage", VINTAGES)
def test_an_unfinished_run_of_the_original_library_is_closed(engine: Engine, url: str, vintage: str) -> None:
    make_original(engine, vintage)

    manager = SQLPersistenceManager(engine_url=url)

    hanging, broken = manager.load_run("hanging"), manager.load_run("broken")
    assert hanging is not None
    assert broken is not None
    assert (hanging.status, hanging.error_message) == (RunStatus.FAILED, "Unfinished when its database was upgraded.")
    assert [row.status for row in hanging.tasks.values()] == [TaskStatus.CANCELLED] * 2
    assert (broken.error_message, broken.tasks["first"].error_message) == ("second: it broke", "it broke")
    assert rows(engine, "SELECT count(*) FROM task_queue") == rows(engine, "SELECT count(*) FROM webhooks") == [(0,)]
    if vintage == "last":
        waiting = manager.load_run("waiting")
        assert waiting is not None
        assert (waiting.record.mode, waiting.status) == (RunMode.DURABLE, RunStatus.FAILED)
        assert rows(engine, "SELECT event_token FROM tasks WHERE workflow_id = 'waiting'") == [(None,)]
    manager.close()


@pytest.mark.parametrize("vintage", VINTAGES)
def test_an_upgraded_database_is_like_a_new_one(engine: Engine, url: str, tmp_path: Path, vintage: str) -> None:
    make_original(engine, vintage)
    ensure_schema(engine)
    upgraded = shape(engine)
    if engine.dialect.name == "sqlite":
        new = engine_for(locate(tmp_path / "new.sqlite3"))
        ensure_schema(new)
    else:
        new = engine
        with engine.begin() as connection:
            empty(connection)
        ensure_schema(engine)
    assert upgraded == shape(new)

    manager = SQLPersistenceManager(engine_url=url)
    run = new_run()
    manager.create_run(run)
    manager.save(RunChanges(run.run_id, tasks=[task()]))
    saved = manager.load_run(run.run_id)
    assert saved is not None
    assert saved.tasks == {"start": task()}
    manager.close()


def test_an_interrupted_upgrade_leaves_the_original_as_it_was(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    make_original(engine, "last")
    before = shape(engine)
    monkeypatch.setattr(
        "highway_core.persistence.migrations.original._COPIES",
        (("workflows", {"workflow_id": "no_such_column"}, "1 = 1", "workflow_id"),),
    )

    with pytest.raises(StorageError, match="could not be brought to the newest schema"):
        ensure_schema(engine)

    assert shape(engine) == before
    assert rows(engine, "SELECT count(*) FROM tasks")[0][0] > 4


def test_a_database_of_a_newer_highway_is_refused(engine: Engine, url: str) -> None:
    ensure_schema(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = 'highway_9999'")

    for open_it in (SQLPersistenceManager, DatabaseManager):
        with pytest.raises(StorageError, match=r"has schema highway_9999.*upgrade Highway or name another"):
            open_it(engine_url=url)
    assert rows(engine, "SELECT version_num FROM alembic_version") == [("highway_9999",)]


def test_a_database_of_something_else_is_refused(engine: Engine, url: str) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE tasks (id INTEGER, title TEXT)")

    with pytest.raises(StorageError, match=r"holds tables called tasks that are not Highway's"):
        SQLPersistenceManager(engine_url=url)
    assert [column["name"] for column in inspect(engine).get_columns("tasks")] == ["id", "title"]


_CREATE = """
import sys
from highway_core.persistence.sql_persistence import SQLPersistenceManager
from highway_core.persistence.sqlite_schema import SCHEMA
from tests.stored_runs import new_run
print("ready", flush=True)
sys.stdin.readline()
manager = SQLPersistenceManager(engine_url=sys.argv[1])
manager.create_run(new_run(sys.argv[2]))
manager.close()
"""


@pytest.mark.parametrize("vintage", [None, "last"])
def test_five_processes_may_make_or_upgrade_the_schema_at_once(url: str, vintage: str | None) -> None:
    if vintage is not None:
        other = create_engine(locate(engine_url=url).url, poolclass=NullPool)
        make_original(other, vintage)
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", _CREATE, url, f"run-{number}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(5)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()

    outcomes = [(racer.communicate(timeout=60)[1], racer.returncode) for racer in racers]

    assert outcomes == [("", 0)] * 5
    manager = DatabaseManager(engine_url=url)
    assert all(manager.load_workflow(f"run-{number}") for number in range(5))
    manager.close_all_connections()


def test_a_new_and_an_up_to_date_sqlite_database_open_without_sqlalchemy(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite3"
    program = (
        "import sys; from highway_core.persistence.sql_persistence import SQLPersistenceManager;"
        f"SQLPersistenceManager({str(path)!r}).close();"
        "print(*sorted({'sqlalchemy', 'alembic', 'psycopg2', 'pydantic'} & set(sys.modules)))"
    )

    imported = [
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
        for _ in range(2)
    ]

    assert imported == [[], []]


def test_a_stamp_without_rows_counts_as_no_schema(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite3"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
    connection.close()

    manager = SQLPersistenceManager(path)

    assert manager.load_run("nobody") is None
    manager.close()


def rendered() -> str:
    """What SQLAlchemy emits for the models on SQLite: write it to ``SCHEMA`` when they have changed."""
    statements: list[str] = []

    def note(statement: Any, *_: object, **__: object) -> None:
        text = str(statement.compile(dialect=engine.dialect)).strip().replace("\t", "    ")
        statements.append("\n".join(line.rstrip() for line in text.splitlines()))

    engine = create_mock_engine("sqlite://", note)
    Base.metadata.create_all(engine, checkfirst=False)
    statements.sort(key=lambda one: "" if one.startswith("CREATE TABLE") else one)  # a table's indexes are a set
    return ";\n\n".join(statements) + ";\n"


def test_the_schema_of_a_new_sqlite_database_is_that_of_the_models() -> None:
    assert SCHEMA.read_text(encoding="utf-8") == rendered()
