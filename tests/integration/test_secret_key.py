"""The installation's key: one for all processes, readable by its owner alone, never replaced."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from highway_core.errors import ConfigError
from highway_core.utils.secret_key import FILE_NAME, secret_key

_ASK = "import sys, pathlib; from highway_core.utils.secret_key import secret_key as k; sys.stdin.readline();"
_ASK += "print(k(None, pathlib.Path(sys.argv[1])).decode())"


def test_the_file_is_made_once_and_is_its_owners_alone(tmp_path: Path) -> None:
    home = tmp_path / "not" / "there"
    key = secret_key(None, home)
    assert len(key) == 43
    assert secret_key(None, home) == key
    assert stat.S_IMODE((home / FILE_NAME).stat().st_mode) == 0o600
    assert [path.name for path in home.iterdir()] == [FILE_NAME]


def test_processes_that_ask_at_once_get_the_same_key(tmp_path: Path) -> None:
    asking = [
        subprocess.Popen(
            [sys.executable, "-c", _ASK, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(6)
    ]
    for one in asking:
        assert one.stdin is not None
        one.stdin.write("\n")
        one.stdin.flush()
    assert len({one.communicate(timeout=30)[0] for one in asking}) == 1
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]


def test_a_given_key_wins_and_no_file_is_made(tmp_path: Path) -> None:
    assert secret_key("given, and long enough", tmp_path) == b"given, and long enough"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", "short", " " * 40])
def test_a_key_that_is_too_short_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"HIGHWAY_SECRET_KEY holds \d+ characters"):
        secret_key(text, tmp_path)
    (tmp_path / FILE_NAME).write_text(text)
    with pytest.raises(ConfigError, match=f"{FILE_NAME} holds"):
        secret_key(None, tmp_path)


def test_a_place_where_no_file_can_be_says_so_and_the_way_out(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(ConfigError, match=r"cannot be kept in .*Set HIGHWAY_SECRET_KEY"):
        secret_key(None, blocked)
