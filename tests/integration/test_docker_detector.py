"""Whether this process runs in a container is told from the files that container engines leave."""

from pathlib import Path

import pytest

from highway_core.utils.docker_detector import is_running_in_docker


def put(root: Path, name: str, text: str = "") -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


@pytest.mark.parametrize("name", [".dockerenv", "run/.containerenv"])
def test_a_marker_file_means_a_container(tmp_path: Path, name: str) -> None:
    put(tmp_path, name)
    assert is_running_in_docker(tmp_path)


@pytest.mark.parametrize(
    "line",
    [
        "12:cpu:/docker/3f4e5d",
        "0::/kubepods.slice/kubepods-burstable.slice/cri-containerd-3f4e.scope",
        "0::/machine.slice/libpod-3f4e.scope",
    ],
)
def test_a_control_group_of_a_container_engine_means_a_container(tmp_path: Path, line: str) -> None:
    put(tmp_path, "proc/1/cgroup", line)
    assert is_running_in_docker(tmp_path)


@pytest.mark.parametrize("text", ["0::/init.scope\n", "0::/\n", ""])
def test_a_plain_machine_is_no_container(tmp_path: Path, text: str) -> None:
    put(tmp_path, "proc/1/cgroup", text)
    assert not is_running_in_docker(tmp_path)


def test_a_system_without_proc_is_no_container(tmp_path: Path) -> None:
    assert not is_running_in_docker(tmp_path)
