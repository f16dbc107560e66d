"""Where Docker is not to be used, or not to be had, the words say so; and nobody pays for it who does not use it."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from highway_core.config import Settings
from highway_core.engine.executors import docker_connection
from highway_core.engine.executors.docker import DockerExecutor
from highway_core.engine.resource_manager import ContainerResourceManager
from highway_core.errors import TaskError
from tests.execution import docker_settings

ROOT = Path(__file__).parents[2]


@pytest.fixture
def in_a_container(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docker_connection, "is_running_in_docker", lambda: True)


def test_no_docker_use_refuses_with_the_way_out() -> None:
    with pytest.raises(RuntimeError, match=r"NO_DOCKER_USE is set.*unset it") as refused:
        DockerExecutor(Settings(no_docker=True))
    assert isinstance(refused.value, TaskError)


@pytest.mark.usefixtures("in_a_container")
def test_inside_a_container_the_daemon_must_be_named() -> None:
    with pytest.raises(RuntimeError, match=r"runs inside a container.*set DOCKER_HOST") as refused:
        DockerExecutor(Settings())
    assert isinstance(refused.value, TaskError)


@pytest.mark.usefixtures("in_a_container")
def test_inside_a_container_a_named_daemon_is_used(tmp_path: Path) -> None:
    with pytest.raises(ConnectionError, match="No Docker daemon answers"):
        DockerExecutor(docker_settings(f"unix://{tmp_path}/no.sock"))


def test_without_a_daemon_the_error_names_the_address_the_reason_and_the_way_out(tmp_path: Path) -> None:
    address = f"unix://{tmp_path}/no.sock"
    with pytest.raises(ConnectionError) as refused:
        DockerExecutor(docker_settings(address))
    assert isinstance(refused.value, TaskError)
    assert str(refused.value) == (
        f"No Docker daemon answers at {address}: No such file or directory. "
        "Start it (and see that you may use it), or set DOCKER_HOST to another."
    )


def test_a_daemon_that_hangs_up_is_no_daemon(tmp_path: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]  # bound, but nobody listens
        with pytest.raises(ConnectionError, match=rf"No Docker daemon answers at tcp://127.0.0.1:{port}: .*refused"):
            DockerExecutor(docker_settings(f"tcp://127.0.0.1:{port}"))


@pytest.mark.usefixtures("in_a_container")
def test_inside_a_container_the_resource_manager_does_nothing() -> None:
    with ContainerResourceManager("run-1", Settings()) as resources:
        name = resources.create_isolated_network("backend")
        resources.register_container("id", "name")
        assert resources.docker_client is None
    assert name.startswith("backend_")
    assert (resources.containers, resources.networks) == (set(), set())


def test_cleaning_up_without_a_daemon_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    resources = ContainerResourceManager("run-1", docker_settings(f"unix://{tmp_path}/no.sock"))
    resources.register_container("id", "name")
    with caplog.at_level(logging.WARNING):
        resources.cleanup_all()
    assert "what it holds at Docker cannot be removed" in caplog.text


def test_importing_the_executors_imports_neither_docker_nor_what_starts_processes() -> None:
    program = (
        "import sys\n"
        "import highway_core.engine.executors.local_python, highway_core.engine.resource_manager\n"
        "print(sorted({'docker', 'requests', 'urllib3', 'subprocess', 'asyncio', 'pydantic'} & set(sys.modules)))"
    )
    assert subprocess.check_output([sys.executable, "-c", program], cwd=ROOT, text=True).strip() == "[]"
