"""What the stores do when the disk is full, the file is locked or damaged, or the server or this process dies."""

from __future__ import annotations

import errno
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from highway_core.errors import RunConflictError, StorageError
from highway_core.lifecycle import RunStatus, TaskStatus
from highway_core.persistence.file_storage import FilePersistenceManager
from highway_core.persistence.manager import PersistenceManager, RunChanges, RunUpdate
from highway_core.persistence.run_folder import RunFolder
from highway_core.persistence.run_image import RunImage
from highway_core.persistence.sql_persistence import SQLPersistenceManager
from tests.stored_runs import NOW, Store, attempt, make_store, new_run, reopened, task


def started(manager: PersistenceManager, run_id: str = "run") -> str:
    manager.create_run(new_run(run_id))
    manager.save(RunChanges(run_id, tasks=[task("a")]))
    return run_id


def tasks_of(manager: PersistenceManager, run_id: str = "run") -> list[str]:
    saved = manager.load_run(run_id)
    assert saved is not None
    return list(saved.tasks)


# -- SQLite


def test_a_full_disk_fails_the_save_and_the_next_one_works(tmp_path: Path) -> None:
    manager = SQLPersistenceManager(tmp_path / "runs.sqlite3")
    run_id = started(manager)
    raw = manager._connection._connection  # type: ignore[attr-defined]
    (pages,) = raw.execute("PRAGMA page_count").fetchone()
    raw.execute(f"PRAGMA max_page_count={pages}")
    big = [task("b"), task("c", result_json='"' + "x" * 50_000 + '"')]

    with pytest.raises(StorageError, match=r"runs\.sqlite3' could not save run 'run': database or disk is full \(free"):
        manager.save(RunChanges(run_id, tasks=big, memory={"k": "1"}))

    assert tasks_of(manager) == ["a"]
    raw.execute("PRAGMA max_page_count=1000000")
    manager.save(RunChanges(run_id, tasks=big))
    assert tasks_of(manager) == ["a", "b", "c"]
    manager.close()


def test_a_locked_database_is_named_after_the_wait(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite3"
    manager = SQLPersistenceManager(path)
    run_id = started(manager)
    manager._connection._connection.execute("PRAGMA busy_timeout=50")  # type: ignore[attr-defined]
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(StorageError, match=r"is locked \(another process holds it"):
        manager.save(RunChanges(run_id, tasks=[task("b")]))
    assert tasks_of(manager) == ["a"], "readers do not wait for a writer"

    other.execute("ROLLBACK")
    manager.save(RunChanges(run_id, tasks=[task("b")]))
    assert tasks_of(manager) == ["a", "b"]
    other.close()
    manager.close()


def test_a_writer_waits_for_another_that_ends_in_time(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite3"
    manager = SQLPersistenceManager(path)
    run_id = started(manager)
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    release = threading.Timer(0.2, lambda: other.execute("ROLLBACK"))
    release.start()

    manager.save(RunChanges(run_id, tasks=[task("b")]))

    release.join()
    assert tasks_of(manager) == ["a", "b"]
    other.close()
    manager.close()


def test_a_row_that_is_refused_takes_its_whole_save_with_it(tmp_path: Path) -> None:
    manager = SQLPersistenceManager(tmp_path / "runs.sqlite3")
    run_id = started(manager)
    odd = task("c", result_json="\ud800")

    with pytest.raises(StorageError, match="surrogates not allowed"):
        manager.save(RunChanges(run_id, tasks=[task("b"), odd], run=RunUpdate(RunStatus.FAILED)))

    assert tasks_of(manager) == ["a"]
    manager.save(RunChanges(run_id, tasks=[task("b")]))
    manager.close()


@pytest.mark.parametrize("what", ["a folder", "not a database", "under a file"])
def test_a_path_that_cannot_be_a_database_is_named(tmp_path: Path, what: str) -> None:
    path = tmp_path / "runs.sqlite3"
    match what:
        case "a folder":
            path.mkdir()
        case "not a database":
            path.write_text("notes\n" * 1000)
        case _:
            path.write_text("")
            path = path / "runs.sqlite3"

    with pytest.raises(StorageError, match=r"SQLite database '.*runs\.sqlite3' could not be opened"):
        SQLPersistenceManager(path)


def test_a_naive_moment_is_refused(tmp_path: Path) -> None:
    manager = SQLPersistenceManager(tmp_path / "runs.sqlite3")
    run_id = started(manager)

    with pytest.raises(StorageError, match="without time zone"):
        manager.save(RunChanges(run_id, tasks=[task("b", created_at=NOW.replace(tzinfo=None))]))
    manager.close()


# -- PostgreSQL


def test_a_connection_that_the_server_ends_is_made_again(postgres_url: str) -> None:
    import psycopg2

    manager = SQLPersistenceManager(engine_url=postgres_url)
    run_id = started(manager)
    with psycopg2.connect(postgres_url) as other, other.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        assert cursor.rowcount > 0
    other.close()

    manager.save(RunChanges(run_id, tasks=[task("b")]))

    assert tasks_of(manager) == ["a", "b"]
    manager.close()


@pytest.mark.parametrize(
    ("odd", "answer"),
    [
        ({"tasks": [task("b", result_json="a\0b")]}, "NUL"),
        ({"tasks": [task("b", attempt=2**40)]}, "out of range"),
        ({"tasks": [task("b")], "attempts": [attempt(number=2**40)]}, "out of range"),
    ],
)
def test_what_postgresql_refuses_takes_its_whole_save_with_it(
    postgres_url: str, odd: dict[str, Any], answer: str
) -> None:
    manager = SQLPersistenceManager(engine_url=postgres_url)
    run_id = started(manager)

    with pytest.raises(StorageError, match=answer):
        manager.save(RunChanges(run_id, memory={"k": "1"}, run=RunUpdate(RunStatus.FAILED), **odd))

    saved = manager.load_run(run_id)
    assert saved is not None
    assert (list(saved.tasks), saved.memory, saved.status) == (["a"], {}, RunStatus.RUNNING)
    manager.close()


# -- files


@pytest.fixture
def files(tmp_path: Path) -> Iterator[FilePersistenceManager]:
    manager = FilePersistenceManager(tmp_path)
    yield manager
    manager.close()


def journal(folder: Path) -> Path:
    (path,) = (folder / "runs").glob("run-*/changes.jsonl")
    return path


def test_a_full_disk_leaves_no_half_line(
    files: FilePersistenceManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = started(files)
    before = journal(tmp_path).read_bytes()
    write, calls = os.write, []

    def half(file: int, content: bytes) -> int:
        calls.append(file)
        if len(calls) > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, content[: len(content) // 2])

    monkeypatch.setattr("highway_core.persistence.run_folder.os.write", half)
    with pytest.raises(StorageError, match=r"could not save run 'run'.*No space left"):
        files.save(RunChanges(run_id, tasks=[task("b")]))
    monkeypatch.undo()

    assert journal(tmp_path).read_bytes() == before
    files.save(RunChanges(run_id, tasks=[task("c")]))
    assert tasks_of(files) == ["a", "c"]


def test_a_line_that_a_crash_cut_off_is_dropped_and_written_over(files: FilePersistenceManager, tmp_path: Path) -> None:
    run_id = started(files)
    files.close()
    with journal(tmp_path).open("ab") as file:
        file.write(b'{"n": 3, "saved": {"run_id": "run", "tas')

    other = FilePersistenceManager(tmp_path)

    assert tasks_of(other) == ["a"]
    other.save(RunChanges(run_id, tasks=[task("b")]))
    assert tasks_of(other) == tasks_of(FilePersistenceManager(tmp_path)) == ["a", "b"]
    other.close()


def test_a_damaged_line_is_named_and_not_skipped(files: FilePersistenceManager, tmp_path: Path) -> None:
    started(files)
    lines = journal(tmp_path).read_bytes().splitlines(keepends=True)
    journal(tmp_path).write_bytes(lines[0] + b"{}\n" + lines[1])

    with pytest.raises(StorageError, match=r"changes\.jsonl:2 is damaged.*Restore the file"):
        FilePersistenceManager(tmp_path).load_run("run")


def test_two_that_take_a_run_over_between_reading_and_writing_do_not_both_succeed(
    files: FilePersistenceManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = started(files)
    outcome: list[str] = []

    def rival() -> None:
        try:
            FilePersistenceManager(tmp_path).take_over(run_id, "host:1:1", "rival", RunStatus.RUNNING)
            outcome.append("rival")
        except RunConflictError as error:
            outcome.append(str(error))

    thread = threading.Thread(target=rival)
    load = RunFolder.load

    def load_and_let_the_rival_try(folder: RunFolder) -> RunImage:
        image = load(folder)
        if thread.ident is None:
            thread.start()
            thread.join(0.3)
        return image

    monkeypatch.setattr(RunFolder, "load", load_and_let_the_rival_try)
    files.take_over(run_id, "host:1:1", "host:2:2", RunStatus.RUNNING)
    thread.join()

    assert outcome == ["Run 'run' was taken over by host:2:2 in the meantime."]


def test_a_finished_run_is_one_file_and_can_go_on(files: FilePersistenceManager, tmp_path: Path) -> None:
    run_id = started(files)
    (folder,) = (tmp_path / "runs").iterdir()
    files.save(RunChanges(run_id, tasks=[task("b")], run=RunUpdate(RunStatus.FAILED, "broke", None, NOW)))
    assert [file.name for file in folder.iterdir()] == ["run.json"]

    files.take_over(run_id, "host:1:1", "host:2:2", RunStatus.RUNNING)
    files.save(RunChanges(run_id, tasks=[task("b", TaskStatus.RUNNING)]))

    assert sorted(file.name for file in folder.iterdir()) == ["changes.jsonl", "run.json"]
    saved = files.load_run(run_id)
    assert saved is not None
    assert (saved.status, saved.record.owner, saved.tasks["b"].status) == ("running", "host:2:2", "running")


def test_a_crash_between_snapshot_and_journal_loses_and_repeats_nothing(
    files: FilePersistenceManager, tmp_path: Path
) -> None:
    run_id = started(files)
    files.save(RunChanges(run_id, tasks=[task("b", TaskStatus.RUNNING)], memory={"n": "1"}))
    path, content = journal(tmp_path), journal(tmp_path).read_bytes()
    files.save(RunChanges(run_id, tasks=[task("b")], memory={"n": "2"}, run=RunUpdate(RunStatus.FAILED, "x")))
    path.write_bytes(content)

    saved = files.load_run(run_id)

    assert saved is not None
    assert (saved.memory, saved.tasks["b"].status, saved.status) == ({"n": 2}, "completed", "failed")
    files.take_over(run_id, "host:1:1", "host:2:2", RunStatus.RUNNING)
    files.save(RunChanges(run_id, memory={"n": "3"}))
    again = FilePersistenceManager(tmp_path).load_run(run_id)
    assert again is not None
    assert (again.memory, again.status) == ({"n": 3}, "running")


# -- every store


@pytest.fixture(params=["sqlite", "postgresql", "files"])
def lasting(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    url = request.getfixturevalue("postgres_url") if request.param == "postgresql" else None
    return make_store(request.param, tmp_path, url)


@pytest.mark.parametrize("lasting", ["sqlite", "postgresql"], indirect=True)
def test_a_closed_manager_of_a_database_says_so(lasting: Store) -> None:
    manager = lasting.open()
    manager.close()

    for use in (lambda: manager.load_run("x"), lambda: manager.create_run(new_run())):
        with pytest.raises(StorageError, match="this manager is closed"):
            use()


_SAVE_FOR_EVER = """
import sys
from pathlib import Path
from highway_core.persistence.manager import RunChanges
from tests.stored_runs import make_store, new_run, task
manager = make_store(sys.argv[1], Path(sys.argv[2]), sys.argv[3]).open()
manager.create_run(new_run("run"))
for number in range(1_000_000):
    manager.save(RunChanges("run", tasks=[task(f"t{number}")], memory={"n": str(number)}))
    print(number, flush=True)
"""


def test_what_was_answered_as_saved_survives_kill_9(lasting: Store, tmp_path: Path) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", _SAVE_FOR_EVER, lasting.kind, str(tmp_path), lasting.where],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert writer.stdout is not None
    answered = [int(writer.stdout.readline()) for _ in range(50)]
    writer.send_signal(signal.SIGKILL)
    answered += [int(line) for line in writer.stdout.read().splitlines() if line]
    writer.wait()
    writer.stdout.close()

    manager = lasting.open()
    manager.take_over("run", "host:1:1", "host:2:2", RunStatus.RUNNING)
    manager.save(RunChanges("run", tasks=[task("after")]))
    saved = reopened(lasting, manager, "run")

    stored = list(saved.tasks)
    assert stored == [f"t{number}" for number in range(len(stored) - 1)] + ["after"]
    assert len(answered) <= len(stored) - 1 <= len(answered) + 1
    assert saved.memory == {"n": len(stored) - 2}
