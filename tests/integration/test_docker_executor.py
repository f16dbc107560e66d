"""Containers on a real daemon: results, limits, and nothing left behind however it ends."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import docker
import pytest

from highway_core.engine.executors.base import Work
from highway_core.engine.executors.docker import DockerExecutor
from highway_core.engine.resource_manager import OWNER_LABEL, RUN_LABEL, TASK_LABEL, ContainerResourceManager
from highway_core.errors import OutputLimitError, TaskError, TaskStoppedError, TaskTimeoutError
from highway_core.utils.process_identity import process_identity
from highway_core.utils.stopping import StopScope
from tests.execution import docker_settings, execution_of
from tests.tool_context import context_with
from tests.waiting import eventually

pytestmark = pytest.mark.docker
ROOT = Path(__file__).parents[2]
Run = Callable[..., str]


@pytest.fixture
def client(docker_host: str) -> Iterator[docker.DockerClient]:
    with closing(docker.DockerClient(docker_host)) as client:
        yield client


@pytest.fixture
def executor(docker_host: str) -> Iterator[DockerExecutor]:
    with closing(DockerExecutor(docker_settings(docker_host, max_output_bytes=1_000_000))) as executor:
        yield executor


@pytest.fixture
def resources(docker_host: str) -> Iterator[ContainerResourceManager]:
    with ContainerResourceManager("run-1", docker_settings(docker_host)) as resources:
        yield resources


@pytest.fixture
def run(executor: DockerExecutor, resources: ContainerResourceManager) -> Run:
    """Runs a shell line in a container."""

    def run(
        script: str, *, timeout: float | None = None, kill: bool = True, stop: StopScope | None = None, **options: Any
    ) -> str:
        work = Work(
            image=options.pop("image", "busybox"),
            command=["sh", "-c", script],
            runtime="docker",
            timeout=timeout,
            kill_on_timeout=kill and timeout is not None,
            options=options,
        )
        return executor.execute(work, execution_of(context_with(stop=stop), resources=resources))

    return run


@pytest.fixture(autouse=True)
def _nothing_is_left(client: docker.DockerClient) -> Iterator[None]:
    """Of every test here, whatever it is about."""
    yield
    assert eventually(lambda: ours(client) == [])


def ours(client: docker.DockerClient) -> list[Any]:
    return client.containers.list(all=True, filters={"label": RUN_LABEL}, ignore_removed=True)


def test_the_result_is_what_was_printed_without_the_blanks_at_the_end(run: Run) -> None:
    assert run("echo '  one'; echo two; echo; echo") == "  one\ntwo"


def test_stderr_belongs_to_the_result(run: Run) -> None:
    assert sorted(run("echo out; echo err >&2").split()) == ["err", "out"]


def test_the_first_and_the_last_words_are_not_lost(run: Run) -> None:
    assert run("i=0; while [ $i -lt 5000 ]; do echo $i; i=$((i+1)); done").split() == [str(i) for i in range(5000)]


def test_another_exit_code_than_zero_is_a_failure_with_the_end_of_the_output(run: Run) -> None:
    with pytest.raises(TaskError, match=r"(?s)^Container of image 'busybox' ended with exit code 3: ….*disk is full$"):
        run("seq 10000; echo disk is full; exit 3")


def test_a_container_that_says_nothing_fails_with_words(run: Run) -> None:
    with pytest.raises(TaskError, match="ended with exit code 1: it printed nothing"):
        run("exit 1")


def test_a_timeout_removes_the_container(run: Run, client: docker.DockerClient) -> None:
    started = time.monotonic()
    with pytest.raises(TaskTimeoutError, match=r"'busybox' ran longer than 0\.5 s and was removed"):
        run("sleep 60", timeout=0.5)
    assert time.monotonic() - started < 10
    assert ours(client) == []


def test_a_container_may_clean_up_on_sigterm(run_in: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d").chmod(0o777)
    stop = StopScope()
    ready = tmp_path / "d" / "ready"
    threading.Thread(target=lambda: eventually(ready.exists, within=30) and stop.stop("enough")).start()
    script = "trap 'echo bye > /d/note; exit 0' TERM; touch /d/ready; while :; do sleep 0.05; done"
    with pytest.raises(TaskStoppedError, match="enough"):
        run_in(tmp_path, script, "./d:/d", stop=stop)
    assert (tmp_path / "d" / "note").read_text() == "bye\n"


def test_a_timeout_that_does_not_kill_is_not_the_executors_business(run: Run) -> None:
    assert run("sleep 0.5; echo done", timeout=0.1, kill=False) == "done"


def test_stopping_the_scope_removes_the_container(run: Run, client: docker.DockerClient) -> None:
    stop = StopScope()
    threading.Thread(target=lambda: eventually(lambda: ours(client)) and stop.stop("the run was cancelled")).start()
    with pytest.raises(TaskStoppedError, match="the run was cancelled"):
        run("sleep 60", stop=stop)


def test_a_scope_that_is_already_stopped_starts_nothing(run: Run) -> None:
    stop = StopScope()
    stop.stop("too late")
    with pytest.raises(TaskStoppedError, match="too late"):
        run("sleep 60", stop=stop)


def test_endless_output_is_cut_and_the_error_names_the_setting(run: Run) -> None:
    with pytest.raises(OutputLimitError, match=r"printed more than 1,000,000 bytes.*HIGHWAY_MAX_OUTPUT_BYTES"):
        run("yes")


def test_an_image_that_nobody_has_is_a_clear_error(run: Run) -> None:
    with pytest.raises(
        TaskError, match=r"Image 'no.such.host.invalid/image:1' is not on this machine and cannot be pulled"
    ):
        run("true", image="no.such.host.invalid/image:1")


def test_a_program_that_the_image_does_not_have_is_a_clear_error(executor: DockerExecutor) -> None:
    with pytest.raises(TaskError, match="no-such-program"):
        executor.execute(Work(image="busybox", command=["no-such-program"], runtime="docker"), execution_of())


def test_the_container_gets_its_own_environment_and_not_ours(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIGHWAY_SECRET_KEY", "hush")
    names = {line.partition("=")[0] for line in run("env", env={"COLOUR": "red"}).splitlines()}
    assert names == {"COLOUR", "HOME", "HOSTNAME", "PATH", "PWD", "SHLVL"}
    assert run("echo $COLOUR", env={"COLOUR": "red"}) == "red"


def test_the_container_has_no_capabilities_and_cannot_gain_any(run: Run) -> None:
    status = dict(line.split(":\t") for line in run("grep -E '^(Cap|NoNew)' /proc/self/status").splitlines())
    assert {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert status["NoNewPrivs"] == "1"


def test_user_folder_and_read_only_root_are_as_asked(run: Run) -> None:
    assert run("id -u; id -g; pwd", user="1000:1001", working_dir="/etc").split() == ["1000", "1001", "/etc"]
    assert "Read-only" in run("touch /x; touch /tmp/x && echo fine", read_only=True)
    assert run("touch /tmp/x && echo fine", read_only=True, user="1000") == "fine"


def test_without_a_network_there_is_only_the_loopback(run: Run) -> None:
    assert run("ls /sys/class/net", network="none") == "lo"


def test_memory_is_bounded_and_the_error_says_so(run: Run) -> None:
    with pytest.raises(TaskError, match=r"exit code 137 \(out of memory: raise its docker option 'memory'\)"):
        run("x=a; while :; do x=$x$x; done", memory="16m")


def test_a_fork_bomb_hits_the_limit_of_processes(run: Run) -> None:
    with pytest.raises(TaskError, match="fork"):
        run("i=0; while [ $i -lt 50 ]; do sleep 30 & i=$((i+1)); done", pids_limit=20)


def test_tasks_of_a_run_share_a_volume_that_goes_with_the_run(
    run: Run, resources: ContainerResourceManager, client: docker.DockerClient
) -> None:
    run("echo 42 > /data/answer", volumes=["data:/data"])
    assert run("cat /in/answer; touch /in/x 2>&1 || true", volumes=["data:/in:ro"]).startswith("42\ntouch: /in/x")
    (name,) = resources.volumes
    resources.cleanup_all()
    assert [volume.name for volume in client.volumes.list() if volume.name == name] == []


@pytest.fixture
def run_in(docker_host: str) -> Iterator[Callable[..., str]]:
    """Runs a shell line in a container, with a folder as the root of what tasks may touch."""
    executors: list[DockerExecutor] = []

    def run(root: Path, script: str, *volumes: str, stop: StopScope | None = None) -> str:
        settings = docker_settings(docker_host, files_root=root)
        executors.append(DockerExecutor(settings))
        work = Work(image="busybox", command=["sh", "-c", script], runtime="docker", options={"volumes": list(volumes)})
        return executors[-1].execute(work, execution_of(context_with(settings, stop=stop)))

    yield run
    for executor in executors:
        executor.close()


def test_a_folder_inside_the_files_root_can_be_mounted(run_in: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "note").write_text("hello")
    assert run_in(tmp_path, "cat /x/note", "./in:/x:ro") == "hello"
    assert run_in(tmp_path, "cat /x/note", f"{tmp_path}/in:/x:ro") == "hello"


@pytest.mark.parametrize("source", ["/", "/var/run/docker.sock", "./../..", "./link", "/etc", "~/.ssh"])
def test_a_folder_outside_of_the_files_root_is_refused(run_in: Callable[..., str], tmp_path: Path, source: str) -> None:
    (tmp_path / "link").symlink_to("/etc")
    with pytest.raises(TaskError, match=r"is outside of .*HIGHWAY_FILES_ROOT"):
        run_in(tmp_path, "ls /x", f"{source}:/x")


def test_a_folder_that_is_not_there_is_not_made(run_in: Callable[..., str], tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="does not exist"):
        run_in(tmp_path, "ls /x", "./missing:/x")
    assert not (tmp_path / "missing").exists()


def test_iterations_of_one_task_with_a_long_name_run_side_by_side(
    executor: DockerExecutor, client: docker.DockerClient
) -> None:
    def attempt(number: int) -> str:
        context = context_with()
        context.task_id = f"{'a_very_long_loop_name_' * 4}[{number}].check"
        work = Work(image="busybox", command=["sh", "-c", f"sleep 0.3; echo {number}"], runtime="docker")
        return executor.execute(work, execution_of(context))

    with ThreadPoolExecutor(6) as pool:
        # Each twice: a second attempt may begin before the first one's container is gone.
        assert list(pool.map(attempt, [0, 0, 1, 1, 2, 2])) == ["0", "0", "1", "1", "2", "2"]


def test_a_container_says_whose_it_is(run: Run, client: docker.DockerClient) -> None:
    seen: dict[str, str] = {}
    watcher = threading.Thread(
        target=lambda: eventually(lambda: [seen.update(container.labels) for container in ours(client)])
    )
    watcher.start()
    run("sleep 0.3")
    watcher.join()
    assert seen == {RUN_LABEL: "run-1", TASK_LABEL: "loop[2].task", OWNER_LABEL: process_identity()}


def test_what_a_dead_process_left_is_removed_by_the_next_and_nothing_else(
    executor: DockerExecutor, client: docker.DockerClient
) -> None:
    host, pid, born = process_identity().split(":")
    owners = {"dead": f"{host}:{pid}:{born}9", "alive": process_identity(), "elsewhere": "other-host:1:2", "bad": "?"}
    left = {
        name: client.containers.create("busybox", "sleep 60", labels={OWNER_LABEL: owner, "highway.test": name})
        for name, owner in owners.items()
    }
    network = client.networks.create("highway-test-orphan", labels={OWNER_LABEL: owners["dead"]}, internal=True)
    try:
        left["dead"].start()
        assert executor.remove_orphans() == 2
        found = client.containers.list(all=True, filters={"label": "highway.test"})
        assert {container.labels["highway.test"] for container in found} == {"alive", "elsewhere", "bad"}
        assert network.name not in [one.name for one in client.networks.list()]
    finally:
        for container in client.containers.list(all=True, filters={"label": "highway.test"}):
            container.remove(force=True)


ENGINE = """
import sys
from highway_core.engine.executors.base import Work
from highway_core.engine.executors.docker import DockerExecutor
from highway_core.config import Settings
from tests.execution import docker_settings, execution_of
executor = DockerExecutor(docker_settings(sys.argv[1]))
executor.execute(Work(image="busybox", command=["sleep", "600"], runtime="docker"), execution_of())
"""


def test_kill_minus_nine_of_the_engine_leaves_no_container(docker_host: str, client: docker.DockerClient) -> None:
    engine = subprocess.Popen([sys.executable, "-c", ENGINE, docker_host], cwd=ROOT)
    try:
        assert eventually(lambda: [one for one in ours(client) if one.status == "running"], within=30)
    finally:
        engine.kill()
        engine.wait()
    assert eventually(lambda: ours(client) == [])


def test_a_run_can_have_a_network_of_its_own(
    run: Run, resources: ContainerResourceManager, client: docker.DockerClient
) -> None:
    name = resources.create_isolated_network("backend")
    assert resources.create_isolated_network("backend") == name
    assert len(resources.networks) == 1
    assert "eth0" in run("ls /sys/class/net", network=name)
    assert client.networks.get(name).attrs["Internal"] is True
    resources.cleanup_all()
    assert resources.networks == set()
    assert name not in [network.name for network in client.networks.list()]


def test_cleaning_up_removes_what_was_registered_and_minds_nothing_that_is_gone(
    resources: ContainerResourceManager, client: docker.DockerClient
) -> None:
    container = client.containers.create("busybox", "sleep 60", labels={RUN_LABEL: "run-1"})
    resources.register_container(container.id, container.name)
    resources.register_container("0" * 64, "gone")
    resources.register_network("gone", "gone")
    resources.register_volume("gone")
    resources.cleanup_all()
    assert (resources.containers, resources.networks, resources.volumes) == (set(), set(), set())
    assert ours(client) == []
