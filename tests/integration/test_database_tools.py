"""``tools.database.query`` and ``db.save_report`` on SQLite files."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from highway_core.config import Settings
from highway_core.errors import ResultError, TaskError, TaskStoppedError
from highway_core.tools.context import ToolContext, enter_context
from highway_core.tools.database import query
from highway_core.tools.db import save_report
from highway_core.tools.decorators import tool_info
from highway_core.utils.stopping import StopScope

Enter = Callable[..., ToolContext]


@pytest.fixture
def attempt() -> Iterator[Enter]:
    def enter(**settings: Any) -> ToolContext:
        state = type("State", (), {"memory": {}, "variables": {}, "results": {}})()
        context = ToolContext("run", "w", "t", 1, Settings(**settings), StopScope(), state)
        enter_context(context)
        return context

    yield enter
    enter_context(None)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'shop.sqlite3'}"


@pytest.fixture
def shop(url: str) -> str:
    query(url, "CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT)")
    query(url, "INSERT INTO users (name) VALUES (:name)", [{"name": "Ada"}, {"name": "Alan"}])
    return url


def test_rows_come_as_a_list_of_dicts(shop: str) -> None:
    assert query(shop, "SELECT id, name FROM users ORDER BY id") == [
        {"id": 1, "name": "Ada"},
        {"id": 2, "name": "Alan"},
    ]
    assert query(shop, "SELECT * FROM users WHERE id = 99") == []


def test_a_statement_without_rows_tells_how_many_it_touched(shop: str) -> None:
    assert query(shop, "UPDATE users SET name = upper(name)") == {"rowcount": 2}
    assert query(shop, "SELECT name FROM users WHERE id = :id", {"id": 2}) == [{"name": "ALAN"}]


def test_a_statement_that_returns_rows_while_writing_is_stored(shop: str) -> None:
    assert query(shop, "INSERT INTO users (name) VALUES ('Eve') RETURNING id") == [{"id": 3}]
    assert query(shop, "SELECT count(*) AS n FROM users") == [{"n": 3}]


def test_data_cannot_become_part_of_the_statement(shop: str) -> None:
    name = "x'); DROP TABLE users; --"
    query(shop, "INSERT INTO users (name) VALUES (:name)", {"name": name})
    assert query(shop, "SELECT name FROM users WHERE id = 3") == [{"name": name}]


def test_a_failed_statement_says_what_the_database_said(shop: str, url: str) -> None:
    with pytest.raises(TaskError, match="no such table: nowhere") as caught:
        query(shop, "SELECT * FROM nowhere")
    assert str(caught.value).startswith(f"Database {url}: ")


def test_the_data_of_a_failed_statement_is_not_in_the_error(shop: str) -> None:
    with pytest.raises(TaskError) as caught:
        query(shop, "INSERT INTO users (id, name) VALUES (:id, :name)", {"id": 1, "name": "s3cret"})
    assert "UNIQUE constraint failed" in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_a_missing_parameter_is_named_and_the_others_are_not_shown(shop: str) -> None:
    with pytest.raises(TaskError, match="bind parameter 'id'") as caught:
        query(shop, "SELECT * FROM users WHERE id = :id AND name = :name", {"name": "s3cret"})
    assert "s3cret" not in str(caught.value)


def test_a_reference_is_resolved_where_the_task_runs(shop: str, attempt: Enter) -> None:
    attempt(environ={"HIGHWAY_SECRET_DB_SHOP_MAIN": shop})
    assert query("vault:db/shop-main", "SELECT count(*) AS n FROM users") == [{"n": 2}]


def test_a_reference_to_nothing_names_the_variable_to_set(attempt: Enter) -> None:
    attempt()
    with pytest.raises(TaskError, match="Secret 'vault:db/postgres' is not set here: set HIGHWAY_SECRET_DB_POSTGRES"):
        query("vault:db/postgres", "SELECT 1")


@pytest.mark.parametrize(
    "connection",
    [
        "postgresql://me:s3cret@127.0.0.1:1/shop",
        "postgresql://127.0.0.1:1/shop?password=s3cret&nosuchoption=s3cret",
        "postgresql://me:s3cret%20%2F@127.0.0.1:1/shop",
        "nosuch://me:s3cret@host/shop",
        "s3cret",
        "postgresql://me:s3cret@127.0.0.1:port/shop",
    ],
)
def test_no_error_shows_the_password(connection: str) -> None:
    with pytest.raises(TaskError) as caught:
        query(connection, "SELECT 1")
    assert "s3cret" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_a_connection_string_that_is_no_text_is_refused() -> None:
    with pytest.raises(TaskError, match="must be text, not dict"):
        query({"url": "x"}, "SELECT 1")  # type: ignore[arg-type]


def test_more_rows_than_a_result_may_hold_are_refused(shop: str, attempt: Enter) -> None:
    attempt(max_result_bytes=1000)
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"
    with pytest.raises(ResultError, match="HIGHWAY_MAX_RESULT_BYTES"):
        query(shop, endless)


def test_a_stopped_attempt_cancels_its_statement(shop: str, attempt: Enter) -> None:
    context = attempt()
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    threading.Timer(0.05, context.stop.stop, ["cancelled"]).start()
    with pytest.raises(TaskStoppedError, match="cancelled"):
        query(shop, endless)
    assert tool_info("tools.database.query").stoppable


def test_a_database_in_memory_keeps_what_was_written() -> None:
    query("sqlite://", "CREATE TABLE IF NOT EXISTS kept (id INTEGER)")
    assert query("sqlite://", "SELECT count(*) AS n FROM kept") == [{"n": 0}]


def reports(path: Path) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT id, report_json, saved_at FROM reports ORDER BY id").fetchall()
    connection.close()
    return rows


def test_a_report_is_stored_under_its_id_and_its_argument_stays_as_it_was(tmp_path: Path, attempt: Enter) -> None:
    attempt(database_url=f"sqlite:///{tmp_path / 'runs.sqlite3'}")
    mine = {"amount": 12.5}
    assert save_report(mine) == {"amount": 12.5, "id": "exp-123-saved"}
    assert mine == {"amount": 12.5}
    assert save_report({"id": "exp-7", "amount": 3}) == {"id": "exp-7", "amount": 3}
    stored = reports(tmp_path / "runs.sqlite3")
    assert [(row[0], json.loads(row[1])["amount"]) for row in stored] == [("exp-123-saved", 12.5), ("exp-7", 3)]
    assert all(row[2] for row in stored)


def test_saving_again_replaces_the_report(tmp_path: Path, attempt: Enter) -> None:
    attempt(database_url=f"sqlite:///{tmp_path / 'runs.sqlite3'}")
    save_report({"id": "exp-7", "amount": 3})
    save_report({"id": "exp-7", "amount": 4})
    assert [json.loads(row[1])["amount"] for row in reports(tmp_path / "runs.sqlite3")] == [4]


def test_many_threads_may_save_the_first_reports(tmp_path: Path, attempt: Enter) -> None:
    settings = Settings(database_url=f"sqlite:///{tmp_path / 'runs.sqlite3'}")

    def save(number: int) -> None:
        attempt(database_url=settings.database_url)
        save_report({"id": f"exp-{number}"})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(save, range(12)))
    assert len(reports(tmp_path / "runs.sqlite3")) == 12


def test_saving_waits_for_another_writer(tmp_path: Path, attempt: Enter) -> None:
    path = tmp_path / "runs.sqlite3"
    attempt(database_url=f"sqlite:///{path}")
    save_report({"id": "first"})
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    threading.Timer(0.1, other.execute, ["COMMIT"]).start()
    save_report({"id": "second"})
    other.close()
    assert [row[0] for row in reports(path)] == ["first", "second"]


@pytest.mark.parametrize("report", ["text", None, ["a"]])
def test_a_report_that_is_no_mapping_is_refused(report: Any) -> None:
    with pytest.raises(TaskError, match="takes a report as a mapping"):
        save_report(report)


@pytest.mark.parametrize("value", [object(), float("nan")])
def test_a_report_that_json_cannot_hold_is_refused_before_it_is_stored(attempt: Enter, value: Any) -> None:
    attempt(database_url="sqlite:////nowhere/at/all.sqlite3")
    with pytest.raises(TaskError, match="Report 'exp-1' cannot be stored as JSON"):
        save_report({"id": "exp-1", "value": value})


def test_a_database_that_cannot_be_opened_is_named(tmp_path: Path, attempt: Enter) -> None:
    attempt(database_url=f"sqlite:///{tmp_path}/missing/runs.sqlite3")
    with pytest.raises(TaskError, match=r"Database sqlite:///.*missing/runs\.sqlite3: unable to open database file"):
        save_report({"id": "exp-1"})
