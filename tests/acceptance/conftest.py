"""What acceptance tests share."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.services import Services
from tests.chaos.cluster import Cluster
from tests.chaos.proxy import Proxy
from tests.command_line import CommandLine


@pytest.fixture
def highway(tmp_path: Path) -> CommandLine:
    """The command line, in a folder of its own."""
    return CommandLine(tmp_path)


@pytest.fixture
def services(tmp_path: Path, postgres_url: str) -> Iterator[Services]:
    """Services on a database of their own; nothing of them outlives the test."""
    made = Services(tmp_path, postgres_url)
    yield made
    made.close()


@pytest.fixture
def embedded_services() -> Iterator[Services]:
    """Services that nobody named a database to."""
    folder = Path(tempfile.mkdtemp(prefix="hw"))  # the path of a socket must be short
    made = Services(folder, None)
    yield made
    made.close()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def cluster(tmp_path: Path, durable_url: str) -> Iterator[Cluster]:
    """Services with leases of two seconds, none of which is started yet."""
    made = Cluster(tmp_path, durable_url)
    yield made
    made.close()


@pytest.fixture
def proxy(durable_url: str) -> Iterator[Proxy]:
    made = Proxy(durable_url)
    yield made
    made.close()


@pytest.fixture
def behind(tmp_path: Path, durable_url: str, proxy: Proxy) -> Iterator[Cluster]:
    """Services that reach the database through the proxy only."""
    made = Cluster(tmp_path, durable_url, proxy.url)
    yield made
    made.close()
