"""Packages of code that documents name by id: ZIP files stored under the hash of their bytes.

An id can therefore never come to mean other code, and storing the same bytes twice is storing them once.
"""

from __future__ import annotations

import hashlib
import io
import re
import uuid
import zipfile
from pathlib import Path
from typing import Final

from highway_core.config import Settings
from highway_core.errors import TaskError
from highway_core.tools.context import FetchArtifact

MAX_BYTES: Final = 50 * 1024 * 1024
_ID = re.compile(r"[0-9a-f]{64}")


def store_artifact(source: Path | bytes, settings: Settings) -> str:
    """Keep a ZIP file and give back its id; TaskError if it is none, or too large."""
    size = len(source) if isinstance(source, bytes) else source.stat().st_size
    if size > MAX_BYTES:
        raise TaskError(f"An artifact may have {MAX_BYTES:,} bytes; this one has {size:,}.")
    data = source if isinstance(source, bytes) else source.read_bytes()
    if not zipfile.is_zipfile(io.BytesIO(data)):
        raise TaskError("An artifact must be a ZIP file with Python packages in it.")
    artifact_id = hashlib.sha256(data).hexdigest()
    place = _place(artifact_id, settings)
    if not place.exists():
        _write(place, data)
    return artifact_id


def artifact_path(artifact_id: str, settings: Settings, fetch: FetchArtifact | None = None) -> Path:
    """Where the artifact lies; TaskError if it is not there, or no longer what its id says.

    ``fetch`` finds what was uploaded elsewhere; it is then kept here.
    """
    if not isinstance(artifact_id, str) or not _ID.fullmatch(artifact_id):
        raise TaskError(f"'{artifact_id}' is not the id of an artifact (64 hexadecimal digits).")
    place = _place(artifact_id, settings)
    try:
        data = place.read_bytes()
    except OSError:
        data = None
    if data is not None and hashlib.sha256(data).hexdigest() == artifact_id:
        return place
    fetched = None if fetch is None else fetch(artifact_id)
    if fetched is not None and hashlib.sha256(fetched).hexdigest() == artifact_id:
        _write(place, fetched)
        return place
    if data is None and fetched is None:
        raise TaskError(f"There is no artifact {artifact_id} here; it has to be uploaded first.")
    where = "on disk" if fetched is None else "in the database"
    raise TaskError(f"Artifact {artifact_id} was changed {where} and is not used; upload it again.")


def _write(place: Path, data: bytes) -> None:
    """Beside its place and then moved there, so that nobody finds half of it."""
    place.parent.mkdir(parents=True, exist_ok=True)
    unfinished = place.with_name(f".{uuid.uuid4().hex}")
    try:
        unfinished.write_bytes(data)
        unfinished.replace(place)
    finally:
        unfinished.unlink(missing_ok=True)


def _place(artifact_id: str, settings: Settings) -> Path:
    return settings.home.expanduser() / "artifacts" / f"{artifact_id}.zip"
