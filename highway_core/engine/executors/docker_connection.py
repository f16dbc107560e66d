"""The way to the Docker daemon, or the reason why there is none."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from highway_core.config import Settings
from highway_core.errors import TaskError
from highway_core.utils.docker_detector import is_running_in_docker

if TYPE_CHECKING:
    from docker import DockerClient

DEFAULT_HOST = "unix:///var/run/docker.sock"


class DockerRefusedError(TaskError, RuntimeError):
    """Docker is not to be used here: switched off, or we are inside a container ourselves."""


class DockerUnreachableError(TaskError, ConnectionError):
    """No daemon answers."""

    def __str__(self) -> str:
        return str(self.args[0])


def docker_host(settings: Settings) -> str:
    """The daemon's address."""
    return settings.environ.get("DOCKER_HOST") or DEFAULT_HOST


def why_not(settings: Settings) -> str | None:
    """Why Docker is not to be used here, with the way out; None if it may be."""
    if settings.no_docker:
        return "NO_DOCKER_USE is set, so no container may be started; unset it to use the docker runtime."
    if is_running_in_docker() and not settings.environ.get("DOCKER_HOST"):
        return (
            "Highway itself runs inside a container, where the docker runtime starts nothing unasked; "
            "set DOCKER_HOST to the daemon that it is to use, or run Highway on the host."
        )
    return None


def connect(settings: Settings) -> DockerClient:
    """A client whose daemon has answered. Raises DockerRefusedError or DockerUnreachableError."""
    reason = why_not(settings)
    if reason is not None:
        raise DockerRefusedError(reason)
    try:
        _knock(docker_host(settings))
    except OSError as error:
        raise _unreachable(settings, error.strerror or str(error)) from error
    import docker  # noqa: PLC0415 - slow to import, and few runs use containers

    try:
        client = docker.from_env(environment=dict(settings.environ))
        client.ping()
    except daemon_errors() as error:
        raise _unreachable(settings, _root(error)) from error
    return client


def daemon_errors() -> tuple[type[Exception], ...]:
    """What the client raises when the daemon refuses or is gone: ``except daemon_errors()`` imports it only then."""
    from docker.errors import DockerException  # noqa: PLC0415 - see connect()
    from requests.exceptions import RequestException  # noqa: PLC0415

    return DockerException, RequestException


def is_missing(error: Exception) -> bool:
    """Whether the daemon says that there is no such thing."""
    return getattr(error, "status_code", None) == 404


def explain(error: Exception) -> str:
    """What the daemon said, without the client's wrapping."""
    return str(getattr(error, "explanation", None) or error)


def _unreachable(settings: Settings, reason: str) -> DockerUnreachableError:
    return DockerUnreachableError(
        f"No Docker daemon answers at {docker_host(settings)}: {reason}. "
        "Start it (and see that you may use it), or set DOCKER_HOST to another."
    )


def _knock(address: str) -> None:
    """OSError if nobody opens. Saves the import where there is no daemon, and says it in fewer words."""
    scheme, _, path = address.partition("://")
    if scheme == "unix":
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(path)


def _root(error: BaseException) -> str:
    """The root of the matter; urllib3 and requests wrap it four times."""
    while error.__context__ is not None:
        error = error.__context__
    return str(error)
