"""``tools.filesystem.*``: what they do below their folder, and that nothing leads out of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from highway_core.errors import TaskError, TaskStoppedError
from highway_core.tools import filesystem as files
from highway_core.utils.stopping import StopScope
from tests.tool_context import context_with, inside, settings_with

OUTSIDE = "lies outside of the folder"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret.txt").write_text("secret")
    return folder


@pytest.fixture
def root(tmp_path: Path, outside: Path) -> Iterator[Path]:
    folder = tmp_path / "root"
    folder.mkdir()
    (folder / "link-out").symlink_to(outside)
    (folder / "link-to-secret").symlink_to(outside / "secret.txt")
    with inside(context_with(settings_with(files_root=folder, max_output_bytes=1000))):
        yield folder


def test_a_file_is_written_with_its_folders_and_read_back(root: Path) -> None:
    assert files.write("a/b/report.txt", "grüße\n") == {"path": "a/b/report.txt", "size": 8}
    assert files.read("a/b/report.txt") == {"path": "a/b/report.txt", "content": "grüße\n", "size": 8}
    assert [entry.name for entry in (root / "a" / "b").iterdir()] == ["report.txt"]


def test_what_is_no_text_is_written_as_json(root: Path) -> None:
    files.write("data.json", {"name": "Zoë", "n": [1]})
    assert (root / "data.json").read_text() == '{\n  "name": "Zoë",\n  "n": [\n    1\n  ]\n}'


def test_bytes_travel_as_base64(root: Path) -> None:
    (root / "image").write_bytes(bytes(range(256)))
    files.write("copy", files.read("image", encoding="base64")["content"], encoding="base64")
    assert (root / "copy").read_bytes() == bytes(range(256))


def test_writing_replaces_a_file_and_keeps_its_mode(root: Path) -> None:
    (root / "run.sh").write_text("old, and longer")
    (root / "run.sh").chmod(0o750)
    files.write("run.sh", "new")
    assert ((root / "run.sh").read_text(), (root / "run.sh").stat().st_mode & 0o777) == ("new", 0o750)


def test_a_new_file_has_the_mode_that_the_umask_leaves(root: Path) -> None:
    before = os.umask(0o027)
    try:
        files.write("new", "x")
        files.append("added", "x")
    finally:
        os.umask(before)
    assert [(root / name).stat().st_mode & 0o777 for name in ("new", "added")] == [0o640, 0o640]


def test_writing_may_be_told_to_replace_nothing(root: Path) -> None:
    files.write("a", "1")
    with pytest.raises(TaskError, match="'a' is there already"):
        files.write("a", "2", overwrite=False)
    assert (root / "a").read_text() == "1"


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files.write("a", "old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TaskError, match="'a': No space left on device"):
        files.write("a", "new")
    assert (root / "a").read_text() == "old"
    assert sorted(entry.name for entry in root.iterdir()) == ["a", "link-out", "link-to-secret"]


def test_appending_makes_a_file_and_adds_to_it(root: Path) -> None:
    files.append("log/day.txt", "one\n")
    assert files.append("log/day.txt", "two\n") == {"path": "log/day.txt", "size": 8}
    assert (root / "log" / "day.txt").read_text() == "one\ntwo\n"


def test_a_listing_tells_of_each_entry_in_order(root: Path) -> None:
    files.write("d/b.csv", "xy")
    files.write("d/a.csv", "x")
    files.write("d/e/c.csv", "xyz")
    files.write("d/no.txt", "")
    assert [entry["path"] for entry in files.list_entries("d", "*.csv")] == ["d/a.csv", "d/b.csv"]
    everything = files.list_entries("d", recursive=True)
    assert [(entry["name"], entry["type"]) for entry in everything] == [
        ("a.csv", "file"),
        ("b.csv", "file"),
        ("e", "folder"),
        ("c.csv", "file"),
        ("no.txt", "file"),
    ]
    assert (everything[0]["size"], everything[0]["modified"][-6:]) == (1, "+00:00")


def test_a_listing_that_is_too_long_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_MOST_ENTRIES", 3)
    for number in range(4):
        files.write(f"many/{number}", "")
    with pytest.raises(TaskError, match="more than 3 entries"):
        files.list_entries("many")


def test_exists_tells_what_is_there(root: Path) -> None:
    files.write("d/a", "")
    os.mkfifo(root / "pipe")
    found = [files.exists(path)["type"] for path in ("d", "d/a", "pipe", "nothing", "d/a/b")]
    assert found == ["folder", "file", "other", None, None]
    assert files.exists("nothing") == {"path": "nothing", "exists": False, "type": None}


def test_files_links_and_folders_are_deleted(root: Path, outside: Path) -> None:
    files.write("a", "")
    files.write("d/b", "")
    assert files.delete("a") == {"path": "a", "deleted": True}
    assert files.delete("a", missing_ok=True) == {"path": "a", "deleted": False}
    with pytest.raises(TaskError, match="not empty"):
        files.delete("d")
    files.delete("d", recursive=True)
    files.delete("link-out", recursive=True)
    files.delete("link-to-secret")
    assert list(root.iterdir()) == []
    assert (outside / "secret.txt").read_text() == "secret"


def test_files_and_folders_are_copied_and_moved(root: Path) -> None:
    files.write("d/a", "1")
    (root / "d" / "out").symlink_to("/etc/passwd")
    files.copy("d", "e/f")
    assert ((root / "e/f/a").read_text(), (root / "e/f/out").is_symlink()) == ("1", True)
    files.copy("d/a", "x/y")
    files.move("x/y", "z")
    assert ((root / "z").read_text(), (root / "x/y").exists()) == ("1", False)
    files.move("link-to-secret", "moved")
    assert (root / "moved").is_symlink()


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        (lambda: files.read("nothing"), "'nothing': No such file"),
        (lambda: files.read("d"), "'d' is not a file"),
        (lambda: files.read("pipe"), "'pipe' is not a file"),
        (lambda: files.read("binary"), "is not utf-8 text .* encoding=base64 reads any file"),
        (lambda: files.read("d/a", encoding="klingon"), "unknown encoding"),
        (lambda: files.read("large"), "larger than 1,000 bytes"),
        (lambda: files.write("d", "x"), "is a folder"),
        (lambda: files.write("d/a/b", "x"), "'d/a/b': "),
        (lambda: files.write("new", "x" * 1001), "larger than 1,000 bytes"),
        (lambda: files.write("new", {1, 2}), "cannot be written"),
        (lambda: files.write("new", "!", encoding="base64"), "cannot be written as base64"),
        (lambda: files.write("new", "\ud800"), "cannot be written as utf-8"),
        (lambda: files.list_entries("d/a"), "is not a folder"),
        (lambda: files.delete("nothing"), "There is no 'nothing'"),
        (lambda: files.copy("nothing", "x"), "There is no 'nothing'"),
        (lambda: files.copy("d/a", "d"), "the same or one is inside the other"),
        (lambda: files.copy("d", "d/e"), "the same or one is inside the other"),
        (lambda: files.copy("binary", "d"), "is a folder; name the file in it"),
        (lambda: files.copy("pipe", "x"), "is not a file"),
        (lambda: files.copy("binary", "d/a", overwrite=False), "'d/a' is there already"),
        (lambda: files.mkdir("d/a"), "'d/a': File exists"),
    ],
)
def test_what_cannot_be_done_says_why(root: Path, action: Callable[[], object], reason: str) -> None:
    files.write("d/a", "1")
    os.mkfifo(root / "pipe")
    (root / "binary").write_bytes(b"\xff\xfe\x00")
    (root / "large").write_bytes(b"x" * 1001)
    with pytest.raises(TaskError, match=reason):
        action()


ESCAPES = [
    "/etc/passwd",
    "../outside/secret.txt",
    "a/../../outside/secret.txt",
    "./../root/../outside/secret.txt",
    "link-out/secret.txt",
    "link-to-secret",
    "link-out/../outside/secret.txt",
    "chain/secret.txt",
    "..",
    "/",
]


@pytest.mark.parametrize("path", ESCAPES)
def test_no_path_leads_out(root: Path, outside: Path, path: str) -> None:
    (root / "chain").symlink_to("link-out")
    files.write("mine", "x")
    actions: list[Callable[[], object]] = [
        lambda: files.read(path),
        lambda: files.write(path, "x"),
        lambda: files.append(path, "x"),
        lambda: files.list_entries(path),
        lambda: files.exists(path),
        lambda: files.copy(path, "x"),
        lambda: files.copy("mine", path),
        lambda: files.move("mine", path),
        lambda: files.mkdir(path),
    ]
    for action in actions:
        with pytest.raises(TaskError, match=OUTSIDE):
            action()
    assert [(entry.name, entry.read_text()) for entry in outside.iterdir()] == [("secret.txt", "secret")]


@pytest.mark.parametrize("path", ["link-out/secret.txt", "../outside", "..", ".", "", "/", "sub/.."])
def test_nothing_outside_and_not_the_folder_itself_is_deleted_or_moved(root: Path, outside: Path, path: str) -> None:
    for action in (lambda: files.delete(path, recursive=True), lambda: files.move(path, "x")):
        with pytest.raises(TaskError):
            action()
    assert (outside / "secret.txt").exists()
    assert root.exists()


@pytest.mark.parametrize("pattern", ["../*", "link-out/*", "*/*", "/etc/*", "**/*", "x/../../outside/*", ""])
def test_no_pattern_leads_out(root: Path, pattern: str) -> None:
    for recursive in (False, True):
        try:
            found = [entry["name"] for entry in files.list_entries(".", pattern, recursive)]
        except TaskError:
            found = []
        assert "secret.txt" not in found


@pytest.mark.parametrize("path", ["a\0b", None, 5, "loop/x"])
def test_a_path_that_makes_no_sense_is_a_task_error(root: Path, path: object) -> None:
    (root / "loop").symlink_to("loop")
    with pytest.raises(TaskError):
        files.read(path)  # type: ignore[arg-type]


def test_without_a_root_it_is_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with inside(context_with()):
        files.write("here", "x")
    assert (tmp_path / "here").read_text() == "x"


def test_a_root_that_is_not_there_is_named() -> None:
    with inside(context_with(settings_with(files_root=Path("/nowhere")))), pytest.raises(TaskError, match="'/nowhere'"):
        files.exists("x")


def test_copying_a_folder_ends_when_the_attempt_is_stopped(root: Path) -> None:
    files.write("d/a", "1")
    stop = StopScope()
    stop.stop("cancelled")
    with (
        inside(context_with(settings_with(files_root=root), stop=stop)),
        pytest.raises(TaskStoppedError, match="cancelled"),
    ):
        files.copy("d", "e")
