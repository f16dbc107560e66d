"""Which database: a URL taken apart once, and what to call it in messages (never with its password)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from highway_core.config import current_settings, normalise_database_url
from highway_core.errors import ConfigError, StorageError

_WAYS_OUT = {
    "is locked": "another process holds it; end that process or try again",
    "is full": "free some space, then resume the run",
    "no space left": "free some space, then resume the run",
    "read-only transaction": "name the server that takes writes, not a standby of it",
    "readonly": "make the file and its folder writable",
    "read-only": "make the file and its folder writable",
    "unable to open": "check that the folder exists and may be written",
    "not a database": "the file is something else; name another one",
    "malformed": "the file is damaged; restore a copy or name another file",
    "connection refused": "start the server or correct HIGHWAY_DATABASE_URL",
    "could not translate host": "correct the host in HIGHWAY_DATABASE_URL",
    "authentication failed": "correct the user and password in HIGHWAY_DATABASE_URL",
}


@dataclass(frozen=True, slots=True)
class Location:
    """One database. ``path`` is the file of a SQLite database, None for one in memory and for PostgreSQL."""

    url: str = field(repr=False)
    dialect: str
    path: Path | None = None

    @property
    def in_memory(self) -> bool:
        return self.dialect == "sqlite" and self.path is None

    @property
    def label(self) -> str:
        """The database as messages name it."""
        if self.in_memory:
            return "The SQLite database in memory"
        if self.path is not None:
            return f"SQLite database '{self.path}'"
        parts = urlsplit(self.url)
        host = parts.hostname or parse_qs(parts.query).get("host", ["the local socket"])[0]
        port = f":{parts.port}" if parts.port else ""
        return f"PostgreSQL database '{unquote(parts.path).strip('/')}' at {host}{port}"

    def error(self, doing: str, error: BaseException) -> StorageError:
        """What a driver's error means: which database, what was tried, its answer, and the way out if one is known."""
        answer = " ".join(str(error).split())
        password = urlsplit(self.url).password
        if password:
            answer = answer.replace(unquote(password), "***").replace(password, "***")
        text = answer.lower()
        way_out = next((f" ({hint})" for sign, hint in _WAYS_OUT.items() if sign in text), "")
        return StorageError(f"{self.label} could not {doing}: {answer or type(error).__name__}{way_out}")


def locate(db_path: str | Path | None = None, engine_url: str | None = None) -> Location:
    """The database of a URL, else of a file, else of the settings. ConfigError if the URL cannot be used."""
    if engine_url is None and db_path is not None:
        return _sqlite(str(db_path))
    url = normalise_database_url(engine_url or current_settings().database_url)
    scheme, _, rest = url.partition("://")
    if scheme != "sqlite":
        return _postgresql(url)
    if rest and not rest.startswith("/"):
        raise ConfigError(f"A SQLite URL has three slashes before the path, as in sqlite:///{rest}: {url!r}")
    if "?" in rest:
        raise ConfigError(f"Options after '?' are not supported in a SQLite URL: {url!r}")
    return _sqlite(rest[1:])


def _postgresql(url: str) -> Location:
    try:
        urlsplit(url).port  # noqa: B018  reading it checks it
    except ValueError as error:
        raise ConfigError(f"The port in the database URL cannot be used: {error}.") from error
    return Location(url, "postgresql")


def _sqlite(name: str) -> Location:
    if name in {"", ":memory:"}:
        return Location("sqlite://", "sqlite")
    path = Path(name).expanduser().absolute()
    return Location(f"sqlite:///{path}", "sqlite", path)
