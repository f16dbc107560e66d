"""Artifacts: stored under the hash of their bytes, found again, refused when they are not what they were."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

import pytest

from highway_core.config import Settings
from highway_core.errors import TaskError
from highway_core.tools import artifacts
from highway_core.tools.artifacts import artifact_path, store_artifact
from tests.tool_context import settings_with


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_with(home=tmp_path / "home")


def packed(**modules: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, source in modules.items():
            archive.writestr(f"{name}.py", source)
    return buffer.getvalue()


def test_an_artifact_is_kept_under_the_hash_of_its_bytes(settings: Settings) -> None:
    data = packed(tasks="x = 1")
    artifact_id = store_artifact(data, settings)
    assert artifact_id == hashlib.sha256(data).hexdigest()
    place = artifact_path(artifact_id, settings)
    assert (place, place.read_bytes()) == (settings.home / "artifacts" / f"{artifact_id}.zip", data)


def test_the_same_bytes_are_stored_once_from_memory_or_from_a_file(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(packed(tasks="x = 1"))
    first = store_artifact(tmp_path / "a.zip", settings)
    assert store_artifact(packed(tasks="x = 1"), settings) == first
    assert [entry.name for entry in (settings.home / "artifacts").iterdir()] == [f"{first}.zip"]


@pytest.mark.parametrize("data", [b"", b"PK", b"#!/bin/sh\nrm -rf ~", packed(a="1")[:-10]])
def test_what_is_no_zip_file_is_refused(settings: Settings, data: bytes) -> None:
    with pytest.raises(TaskError, match="must be a ZIP file"):
        store_artifact(data, settings)
    assert not settings.home.exists()


def test_an_artifact_that_is_too_large_is_refused_before_it_is_read(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifacts, "MAX_BYTES", 100)
    (tmp_path / "a.zip").write_bytes(packed(tasks="x = 1" * 50))
    for source in (tmp_path / "a.zip", (tmp_path / "a.zip").read_bytes()):
        with pytest.raises(TaskError, match="may have 100 bytes"):
            store_artifact(source, settings)


def test_an_artifact_that_was_changed_on_disk_is_not_used(settings: Settings) -> None:
    artifact_id = store_artifact(packed(tasks="x = 1"), settings)
    artifact_path(artifact_id, settings).write_bytes(packed(tasks="evil = 1"))
    with pytest.raises(TaskError, match="was changed on disk"):
        artifact_path(artifact_id, settings)


def test_an_artifact_that_nobody_stored_is_named(settings: Settings) -> None:
    with pytest.raises(TaskError, match=f"There is no artifact {'0' * 64} here"):
        artifact_path("0" * 64, settings)


@pytest.mark.parametrize("artifact_id", ["", "../../etc/passwd", "A" * 64, "0" * 63, "0" * 64 + "\n", "{{_id}}", None])
def test_what_is_no_id_never_becomes_a_path(settings: Settings, artifact_id: object) -> None:
    with pytest.raises(TaskError, match="is not the id of an artifact"):
        artifact_path(artifact_id, settings)  # type: ignore[arg-type]


# -- fetched from where they were uploaded


def test_what_is_not_here_is_fetched_once_and_kept(settings: Settings) -> None:
    data = packed(tasks="x = 1")
    artifact_id = hashlib.sha256(data).hexdigest()
    asked: list[str] = []

    def fetch(wanted: str) -> bytes:
        asked.append(wanted)
        return data

    for _ in range(3):
        assert artifact_path(artifact_id, settings, fetch).read_bytes() == data
    assert asked == [artifact_id]
    assert [entry.name for entry in (settings.home / "artifacts").iterdir()] == [f"{artifact_id}.zip"]


def test_what_was_changed_on_disk_is_fetched_anew(settings: Settings) -> None:
    data = packed(tasks="x = 1")
    artifact_id = store_artifact(data, settings)
    artifact_path(artifact_id, settings).write_bytes(packed(tasks="evil = 1"))
    assert artifact_path(artifact_id, settings, lambda _: data).read_bytes() == data
    assert artifact_path(artifact_id, settings).read_bytes() == data


def test_other_bytes_than_those_of_the_id_are_not_kept(settings: Settings) -> None:
    with pytest.raises(TaskError, match="was changed in the database"):
        artifact_path("0" * 64, settings, lambda _: packed(tasks="evil = 1"))
    assert not settings.home.exists()


def test_what_is_nowhere_is_named(settings: Settings) -> None:
    with pytest.raises(TaskError, match=f"There is no artifact {'0' * 64} here"):
        artifact_path("0" * 64, settings, lambda _: None)


def test_what_is_no_id_is_not_asked_for(settings: Settings) -> None:
    def fetch(wanted: str) -> bytes:
        raise AssertionError(wanted)

    with pytest.raises(TaskError, match="is not the id of an artifact"):
        artifact_path("../../etc/passwd", settings, fetch)
