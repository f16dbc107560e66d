"""The settings: read from the environment once, frozen, and handed down. No other module reads the environment.

``HIGHWAY_ENV`` (development, test, production) picks ``test.env`` or ``.env`` in the current directory; a variable
that is set in the process wins over the file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

from highway_core.errors import ConfigError

_TRUE = frozenset({"1", "t", "true", "yes", "on"})
_FALSE = frozenset({"", "0", "f", "false", "no", "off"})
_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class SmtpSettings:
    """Where mail goes; ``None`` in :class:`Settings` means that mail is logged instead."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    sender: str
    starttls: bool


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set. One attribute per variable; the names in brackets are the variables."""

    environment: str = "development"
    """[HIGHWAY_ENV]"""
    home: Path = Path("~/.highway")
    """[HIGHWAY_HOME] the folder of what Highway keeps on this machine; expanded."""
    database_url: str = field(default="sqlite:///~/.highway.sqlite3", repr=False)
    """[HIGHWAY_DATABASE_URL, DATABASE_URL, POSTGRES_*] where runs are stored; may hold a password."""
    use_pg_for_tests: bool = False
    """[USE_PG]"""
    no_docker: bool = False
    """[NO_DOCKER_USE] refuse the docker runtime."""
    threads: int = 10
    """[HIGHWAY_THREADS] tasks of a LOCAL run that work at the same time."""
    tools_dir: Path | None = None
    """[HIGHWAY_TOOLS_DIR] a folder of Python files that register the user's own tools."""
    tool_modules: tuple[str, ...] = ()
    """[HIGHWAY_TOOL_MODULES] modules (comma-separated prefixes) whose functions a task may name by dotted path."""
    workflows_dir: Path | None = None
    """[HIGHWAY_WORKFLOWS_DIR] where a workflow is looked up by name."""
    env_allowed: tuple[str, ...] = ()
    """[HIGHWAY_ENV_ALLOWED] variables that ``{{env.NAME}}`` may read (comma-separated)."""
    max_result_bytes: int = 16 * _MIB
    """[HIGHWAY_MAX_RESULT_BYTES] the largest result, as JSON text."""
    max_output_bytes: int = 10 * _MIB
    """[HIGHWAY_MAX_OUTPUT_BYTES] the most that a tool may print."""
    max_response_bytes: int = 50 * _MIB
    """[HIGHWAY_MAX_RESPONSE_BYTES] the largest HTTP body that a tool reads."""
    http_block_private: bool = False
    """[HIGHWAY_HTTP_BLOCK_PRIVATE] refuse HTTP requests to loopback, link-local and private addresses."""
    files_root: Path | None = None
    """[HIGHWAY_FILES_ROOT] the folder that tools.filesystem.* may touch; the current directory if unset."""
    bulkheads: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: MappingProxyType({}))
    """[HIGHWAY_BULKHEADS] JSON: tool name or ``prefix.*`` → the fields of BulkheadConfig."""
    smtp: SmtpSettings | None = None
    """[HIGHWAY_SMTP_HOST, _PORT, _USER, _PASSWORD, _FROM, _STARTTLS]"""
    finance_email: str | None = None
    """[HIGHWAY_FINANCE_EMAIL] where email.escalate_finance_queue sends to."""
    payment_gateway_url: str | None = None
    """[HIGHWAY_PAYMENT_GATEWAY_URL] where api.payment_gateway.pay posts; unset: a receipt marked simulated."""
    llm_endpoint: str | None = None
    """[HIGHWAY_LLM_ENDPOINT] base URL of an OpenAI-compatible or Anthropic service."""
    llm_api_key: str | None = field(default=None, repr=False)
    """[HIGHWAY_LLM_API_KEY]"""
    public_url: str | None = None
    """[HIGHWAY_PUBLIC_URL] the base of links that people get, without a slash at the end; None: the API's address."""
    secret_key: str | None = field(default=None, repr=False)
    """[HIGHWAY_SECRET_KEY] what approval links are made with; None: kept in the file ``secret_key`` of ``home``."""
    log_links: bool = False
    """[HIGHWAY_LOG_LINKS] write approval links, with their tokens, to the log."""
    notify_webhook: str | None = field(default=None, repr=False)
    """[HIGHWAY_NOTIFY_WEBHOOK] the URL that is told of a new approval, instead of a mail."""
    concurrency: int = 10
    """[HIGHWAY_CONCURRENCY] tasks of DURABLE runs that one worker carries out at the same time."""
    queues: tuple[str, ...] = ("default",)
    """[HIGHWAY_QUEUES] the queues that a worker serves (comma-separated)."""
    lease_seconds: float = 30.0
    """[HIGHWAY_LEASE_SECONDS] how long a worker that is not heard of keeps what it works on."""
    max_lease_losses: int = 3
    """[HIGHWAY_MAX_LEASE_LOSSES] a task that has cost so many workers their lease is failed."""
    poll_seconds: float = 5.0
    """[HIGHWAY_POLL_SECONDS] how often an idle service looks although nobody called it."""
    grace_seconds: float = 30.0
    """[HIGHWAY_GRACE_SECONDS] how long what is being worked on may go on after SIGTERM."""
    retention_days: int | None = None
    """[HIGHWAY_RETENTION_DAYS] how long ended DURABLE runs are kept; None: for ever."""
    api_endpoint: str | None = None
    """[HIGHWAY_API_ENDPOINT] the API that the command line talks to; None: straight to the database."""
    api_key: str | None = field(default=None, repr=False)
    """[HIGHWAY_API_KEY] its key for that."""
    api_host: str = "127.0.0.1"
    """[HIGHWAY_API_HOST] the address that the API is bound to; beyond this machine it asks for keys."""
    api_port: int = 5000
    """[HIGHWAY_API_PORT]"""
    api_threads: int = 32
    """[HIGHWAY_API_THREADS] requests that the API answers at the same time, those that wait included."""
    max_body_bytes: int = 16 * _MIB
    """[HIGHWAY_MAX_BODY_BYTES] the largest body of a request to the API; an artifact may have 50 MiB."""
    environ: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    """The variables themselves, for ``{{env.NAME}}``, ``{{secrets.NAME}}`` and the environment of child processes."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Read the process's environment (or ``environ``); ConfigError names a variable that cannot be used."""
        env = _with_file(dict(os.environ if environ is None else environ))
        return _Reader(env).settings()

    def secret(self, name: str) -> str | None:
        """The value of ``HIGHWAY_SECRET_<NAME>``, or None; HIGHWAY_SECRET_KEY is Highway's own and no task's."""
        if name.upper() == "KEY":
            return None
        return self.environ.get(f"HIGHWAY_SECRET_{name}") or self.environ.get(f"HIGHWAY_SECRET_{name.upper()}")

    @property
    def link_base(self) -> str:
        """Where links that people get begin, without a slash at the end."""
        if self.public_url is not None:
            return self.public_url
        host = "127.0.0.1" if self.api_host in {"0.0.0.0", "::"} else self.api_host  # noqa: S104 - compared, not bound
        return f"http://[{host}]:{self.api_port}" if ":" in host else f"http://{host}:{self.api_port}"

    # The names of the existing library, for those who read them.
    @property
    def DATABASE_URL(self) -> str:  # noqa: N802
        return self.database_url

    @property
    def NO_DOCKER_USE(self) -> bool:  # noqa: N802
        return self.no_docker

    @property
    def USE_PG_FOR_TESTS(self) -> bool:  # noqa: N802
        return self.use_pg_for_tests

    @property
    def use_postgres(self) -> bool:
        return self.database_url.startswith("postgresql")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("POSTGRES_"):
            return self.environ.get(name) or self.environ.get(f"DB_{name.removeprefix('POSTGRES_')}")
        raise AttributeError(f"Settings has no '{name}'")


class _Reader:
    """Turns strings into settings; each method names the variable it could not use."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env

    def settings(self) -> Settings:
        return Settings(
            environment=self._env.get("HIGHWAY_ENV", "development"),
            home=Path(self._env.get("HIGHWAY_HOME", "~/.highway")).expanduser(),
            database_url=self._database_url(),
            use_pg_for_tests=self._flag("USE_PG"),
            no_docker=self._flag("NO_DOCKER_USE"),
            threads=self._number("HIGHWAY_THREADS", 10),
            tools_dir=self._path("HIGHWAY_TOOLS_DIR"),
            tool_modules=self._names("HIGHWAY_TOOL_MODULES"),
            workflows_dir=self._path("HIGHWAY_WORKFLOWS_DIR"),
            env_allowed=self._names("HIGHWAY_ENV_ALLOWED"),
            max_result_bytes=self._number("HIGHWAY_MAX_RESULT_BYTES", 16 * _MIB),
            max_output_bytes=self._number("HIGHWAY_MAX_OUTPUT_BYTES", 10 * _MIB),
            max_response_bytes=self._number("HIGHWAY_MAX_RESPONSE_BYTES", 50 * _MIB),
            http_block_private=self._flag("HIGHWAY_HTTP_BLOCK_PRIVATE"),
            files_root=self._path("HIGHWAY_FILES_ROOT"),
            bulkheads=self._json_object("HIGHWAY_BULKHEADS"),
            smtp=self._smtp(),
            finance_email=self._env.get("HIGHWAY_FINANCE_EMAIL") or None,
            payment_gateway_url=self._env.get("HIGHWAY_PAYMENT_GATEWAY_URL") or None,
            llm_endpoint=self._env.get("HIGHWAY_LLM_ENDPOINT") or None,
            llm_api_key=self._env.get("HIGHWAY_LLM_API_KEY") or None,
            public_url=(self._web_address("HIGHWAY_PUBLIC_URL") or "").rstrip("/") or None,
            secret_key=self._env.get("HIGHWAY_SECRET_KEY") or None,
            log_links=self._flag("HIGHWAY_LOG_LINKS"),
            notify_webhook=self._web_address("HIGHWAY_NOTIFY_WEBHOOK"),
            concurrency=self._number("HIGHWAY_CONCURRENCY", 10),
            queues=self._names("HIGHWAY_QUEUES") or ("default",),
            lease_seconds=self._seconds("HIGHWAY_LEASE_SECONDS", 30.0),
            max_lease_losses=self._number("HIGHWAY_MAX_LEASE_LOSSES", 3),
            poll_seconds=self._seconds("HIGHWAY_POLL_SECONDS", 5.0),
            grace_seconds=self._seconds("HIGHWAY_GRACE_SECONDS", 30.0),
            retention_days=self._number("HIGHWAY_RETENTION_DAYS", 0) or None,
            api_endpoint=(self._web_address("HIGHWAY_API_ENDPOINT") or "").rstrip("/") or None,
            api_key=self._env.get("HIGHWAY_API_KEY") or None,
            api_host=self._env.get("HIGHWAY_API_HOST", "").strip() or "127.0.0.1",
            api_port=self._number("HIGHWAY_API_PORT", 5000),
            api_threads=self._number("HIGHWAY_API_THREADS", 32),
            max_body_bytes=self._number("HIGHWAY_MAX_BODY_BYTES", 16 * _MIB),
            environ=MappingProxyType(dict(self._env)),
        )

    def _flag(self, name: str) -> bool:
        text = self._env.get(name, "").strip().lower()
        if text in _TRUE:
            return True
        if text in _FALSE:
            return False
        raise ConfigError(f"{name}={text!r} is neither true nor false.")

    def _number(self, name: str, default: int) -> int:
        text = self._env.get(name, "").strip()
        if not text:
            return default
        if not text.isdecimal() or int(text) < 1:
            raise ConfigError(f"{name}={text!r} must be a whole number above zero.")
        return int(text)

    def _seconds(self, name: str, default: float) -> float:
        text = self._env.get(name, "").strip()
        try:
            value = float(text) if text else default
        except ValueError:
            value = 0.0
        if not 0 < value < float("inf"):
            raise ConfigError(f"{name}={text!r} must be a number of seconds above zero.")
        return value

    def _path(self, name: str) -> Path | None:
        text = self._env.get(name, "").strip()
        return Path(text).expanduser() if text else None

    def _web_address(self, name: str) -> str | None:
        text = self._env.get(name, "").strip()
        if text and not text.startswith(("http://", "https://")):
            raise ConfigError(f"{name}={text!r} must be an address that begins with http:// or https://.")
        return text or None

    def _names(self, name: str) -> tuple[str, ...]:
        return tuple(part.strip() for part in self._env.get(name, "").split(",") if part.strip())

    def _json_object(self, name: str) -> Mapping[str, Any]:
        text = self._env.get(name, "").strip()
        if not text:
            return MappingProxyType({})
        try:
            value = json.loads(text)
        except ValueError as error:
            raise ConfigError(f"{name} is not JSON: {error}") from error
        if not isinstance(value, dict):
            raise ConfigError(f"{name} must be a JSON object, not {type(value).__name__}.")
        return MappingProxyType(value)

    def _smtp(self) -> SmtpSettings | None:
        host = self._env.get("HIGHWAY_SMTP_HOST")
        if not host:
            return None
        return SmtpSettings(
            host=host,
            port=self._number("HIGHWAY_SMTP_PORT", 587),
            user=self._env.get("HIGHWAY_SMTP_USER", ""),
            password=self._env.get("HIGHWAY_SMTP_PASSWORD", ""),
            sender=self._env.get("HIGHWAY_SMTP_FROM", f"highway@{host}"),
            starttls=self._flag("HIGHWAY_SMTP_STARTTLS"),
        )

    def _database_url(self) -> str:
        parts = self._postgres_parts()
        url = self._env.get("HIGHWAY_DATABASE_URL") or parts or self._env.get("DATABASE_URL")
        if not url:
            url = "sqlite:///~/.highway.sqlite3"
        testing = self._env.get("HIGHWAY_ENV") == "test" and not self._flag("USE_PG")
        if testing and url.startswith("postgres"):
            url = "sqlite:///~/.highway.test.sqlite3"
        return normalise_database_url(url)

    def _postgres_parts(self) -> str | None:
        keys = {"USER": "USER", "PASSWORD": "PASSWORD", "HOST": "HOST", "PORT": "PORT", "DB": "NAME"}
        values = [self._env.get(f"POSTGRES_{key}") or self._env.get(f"DB_{alias}") for key, alias in keys.items()]
        if not all(values):
            return None
        user, password, host, port, name = (str(value) for value in values)
        return f"postgresql://{quote(user, safe='')}:{quote(password, safe='')}@{host}:{port}/{quote(name, safe='')}"


def normalise_database_url(url: str) -> str:
    """Expand a leading ``~`` of a path and name the one PostgreSQL driver that Highway ships (psycopg2)."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        raise ConfigError(f"A database URL needs a scheme, as in sqlite:///runs.sqlite3: {url!r}")
    if scheme.split("+")[0] in {"postgres", "postgresql"}:
        return f"postgresql+psycopg2://{rest}"
    if scheme == "sqlite" and rest.startswith("/~"):
        return f"sqlite:///{Path(rest[1:]).expanduser()}"
    if scheme == "files" and rest.startswith("/"):
        return f"files://{Path(rest[1:] if rest.startswith('/~') else rest).expanduser()}"
    if scheme != "sqlite":
        raise ConfigError(f"Cannot store runs at '{scheme}://…'; use sqlite:///…, postgresql://… or files:///folder.")
    return url


def _with_file(env: dict[str, str]) -> dict[str, str]:
    path = Path("test.env" if env.get("HIGHWAY_ENV") == "test" else ".env")
    if not path.is_file():
        return env
    values: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        name, separator, value = line.strip().removeprefix("export ").partition("=")
        if separator and not name.startswith("#"):
            values[name.strip()] = value.strip().strip("'\"")
    return values | env


@cache
def current_settings() -> Settings:
    """The settings of this process, read at the first call."""
    return Settings.from_env()


def __getattr__(name: str) -> Any:
    """``config.settings`` of the existing library, read when it is first asked for and not at import."""
    if name == "settings":
        return current_settings()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
