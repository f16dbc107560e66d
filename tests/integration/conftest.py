"""What the integration tests share: a Docker daemon for those marked ``docker``."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from highway_core.config import current_settings
from tests.dockerd import NoDaemon, docker_daemon


@pytest.fixture(scope="session")
def docker_host() -> Iterator[str]:
    """The address of a daemon with the image ``busybox``; DOCKER_HOST is set to it. In CI there must be one."""
    before = os.environ.get("DOCKER_HOST")
    try:
        with docker_daemon(os.environ) as address:
            os.environ["DOCKER_HOST"] = address
            current_settings.cache_clear()
            yield address
    except NoDaemon as reason:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(reason))
    finally:
        os.environ.pop("DOCKER_HOST", None)
        if before is not None:
            os.environ["DOCKER_HOST"] = before
        current_settings.cache_clear()


@pytest.fixture(autouse=True)
def _docker_for_docker_tests(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("docker") is not None:
        request.getfixturevalue("docker_host")
