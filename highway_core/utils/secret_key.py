"""The key of this installation, which approval links are derived from: given by a setting, else kept in a file."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path
from typing import Final

from highway_core.errors import ConfigError

FILE_NAME: Final = "secret_key"
_SHORTEST: Final = 16
_WAY_OUT: Final = "Set HIGHWAY_SECRET_KEY, to the same value for every service on every host."


def secret_key(given: str | None, home: Path) -> bytes:
    """``given`` (the setting HIGHWAY_SECRET_KEY), else what ``home/secret_key`` holds; the file is made if need be.

    Any number of processes may ask at once: one of them makes the file, all get the same key. ConfigError if the key is
    too short to be one, or the file cannot be made or read.
    """
    if given is not None:
        return _checked(given, "HIGHWAY_SECRET_KEY")
    path = home / FILE_NAME
    try:
        return _checked(_read_or_make(path), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The secret key cannot be kept in '{path}': {error}. {_WAY_OUT}") from error


def _read_or_make(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
    # Written whole under another name first: a link to it appears at once or not at all, and never replaces a key.
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(8)}")
    try:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
            file.flush()
            os.fsync(handle)
        with contextlib.suppress(FileExistsError):  # another process was faster: its key is the one
            path.hardlink_to(draft)
    finally:
        draft.unlink(missing_ok=True)
    return path.read_text(encoding="ascii")


def _checked(text: str, name: str) -> bytes:
    key = text.strip()
    if len(key) < _SHORTEST:
        raise ConfigError(
            f"{name} holds {len(key)} characters; a secret key has at least {_SHORTEST}, better 43 random ones"
            " (python -c 'import secrets; print(secrets.token_urlsafe(32))')."
        )
    return key.encode()
