"""What a database is called in messages, and what its answers mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from highway_core.persistence.location import Location, locate


@pytest.mark.parametrize(
    ("url", "label"),
    [
        ("sqlite:////var/runs.sqlite3", "SQLite database '/var/runs.sqlite3'"),
        ("sqlite://", "The SQLite database in memory"),
        ("sqlite:///:memory:", "The SQLite database in memory"),
        ("postgresql://me:s3cret@db.example:5433/runs", "PostgreSQL database 'runs' at db.example:5433"),
        ("postgres://me@/my%20runs?host=/run/pg", "PostgreSQL database 'my runs' at /run/pg"),
        ("postgresql:///runs", "PostgreSQL database 'runs' at the local socket"),
    ],
)
def test_a_database_has_a_name_for_messages(url: str, label: str) -> None:
    assert locate(engine_url=url).label == label


def test_a_path_becomes_absolute_and_a_tilde_the_home_folder() -> None:
    assert locate("~/runs.sqlite3").path == Path.home() / "runs.sqlite3"
    assert locate(engine_url="sqlite:///~/runs.sqlite3").path == Path.home() / "runs.sqlite3"
    assert locate(engine_url="sqlite:///runs.sqlite3").path == Path.cwd() / "runs.sqlite3"
    assert locate(db_path="a.sqlite3", engine_url="sqlite:////b.sqlite3").path == Path("/b.sqlite3")


def test_neither_a_message_nor_the_repr_shows_the_password() -> None:
    location = locate(engine_url="postgresql://me:p%40ss@db/runs")
    answer = 'invalid dsn: "postgresql://me:p%40ss@db" with password p@ss'

    message = str(location.error("be reached", ValueError(answer)))

    assert message == (
        "PostgreSQL database 'runs' at db could not be reached:"
        ' invalid dsn: "postgresql://me:***@db" with password ***'
    )
    assert "p%40ss" not in repr(location)


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        ("database is locked", "another process holds it"),
        ("database or disk is full", "free some space"),
        ("[Errno 28] No space left on device", "free some space"),
        ("attempt to write a readonly database", "writable"),
        ("cannot execute CREATE TABLE in a read-only transaction", "takes writes"),
        ("file is not a database", "something else"),
        ("connection to server failed: Connection refused", "start the server"),
    ],
)
def test_a_known_answer_comes_with_the_way_out(answer: str, hint: str) -> None:
    location = Location("sqlite:////r.sqlite3", "sqlite", Path("/r.sqlite3"))

    message = str(location.error("save run 'x'", OSError(answer)))

    assert message.startswith(f"SQLite database '/r.sqlite3' could not save run 'x': {answer} (")
    assert hint in message


def test_an_answer_without_words_is_told_by_its_kind() -> None:
    location = Location("sqlite://", "sqlite")

    assert str(location.error("be read", OSError())) == "The SQLite database in memory could not be read: OSError"
