"""A Docker daemon for tests: the one that runs, or a real one started for the purpose, with an image to use.

As a program it runs a command with such a daemon: ``python -m tests.dockerd ./factcheck.sh``.
"""

from __future__ import annotations

import io
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import docker
from docker.errors import DockerException, ImageNotFound

from highway_core.utils.guardian import guardian
from highway_core.utils.process_tree import MARK, kill_tree
from tests.waiting import eventually

IMAGE = "busybox:latest"
_DEFAULT = "unix:///var/run/docker.sock"
_QUIET = ("--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false")
"""A daemon that leaves the machine's network alone: containers reach each other on networks of their own at most."""


class NoDaemon(Exception):
    """There is no daemon, and none can be started; the text says why."""


@contextmanager
def docker_daemon(environ: Mapping[str, str]) -> Iterator[str]:
    """The address of a daemon that has :data:`IMAGE`. Raises NoDaemon."""
    address = environ.get("DOCKER_HOST") or _DEFAULT
    if answers(address):
        provide_image(address)
        yield address
        return
    if shutil.which("dockerd") is None:
        raise NoDaemon(f"no Docker daemon answers at {address}, and dockerd is not installed")
    if os.geteuid() != 0:
        raise NoDaemon(f"no Docker daemon answers at {address}, and only root can start one")
    folder = Path(tempfile.mkdtemp(prefix="hwdocker"))
    try:
        with _started(folder) as address:
            provide_image(address)
            yield address
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _started(folder: Path) -> Iterator[str]:
    address = f"unix://{folder}/docker.sock"
    mark = os.urandom(8).hex()
    # In a mount namespace of its own, so that its mounts end with it, however it ends.
    command = [
        "unshare",
        "--mount",
        "dockerd",
        "--host",
        address,
        "--data-root",
        f"{folder}/data",
        "--exec-root",
        f"{folder}/exec",
    ]
    command += ["--pidfile", f"{folder}/pid", "--storage-driver=vfs", *_QUIET]
    with (folder / "log").open("wb") as log:
        daemon = subprocess.Popen(
            command, stdout=log, stderr=log, start_new_session=True, env={**os.environ, MARK: mark}
        )
    guardian.watch_group(daemon.pid, mark)  # a killed test run leaves no daemon either
    try:
        if (
            not eventually(lambda: daemon.poll() is not None or answers(address), within=60)
            or daemon.poll() is not None
        ):
            end = (folder / "log").read_text(errors="replace")[-2000:]
            raise NoDaemon(f"dockerd does not start: {end}")
        yield address
        with closing(docker.DockerClient(address)) as client:
            for container in client.containers.list(all=True):
                container.remove(force=True)
    finally:
        daemon.terminate()
        eventually(lambda: daemon.poll() is not None, within=20)
        kill_tree(daemon.pid, mark)
        guardian.forget_group(daemon.pid)
        daemon.wait()


def answers(address: str) -> bool:
    """Whether a daemon does."""
    scheme, _, path = address.partition("://")
    if scheme == "unix":  # asked by hand: the client leaves a socket open where nobody answers
        with socket.socket(socket.AF_UNIX) as connection:
            try:
                connection.connect(path)
                connection.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
                return b" 200 " in connection.recv(100)
            except OSError:
                return False
    try:
        with closing(docker.DockerClient(address, timeout=10)) as client:
            return bool(client.ping())
    except DockerException:
        return False


def provide_image(address: str) -> None:
    """Make :data:`IMAGE` from this machine's static busybox, unless the daemon has one: nothing is downloaded."""
    with closing(docker.DockerClient(address)) as client:
        try:
            client.images.get(IMAGE)
        except ImageNotFound:
            repository, tag = IMAGE.split(":")
            client.api.import_image_from_data(_root_filesystem(), repository=repository, tag=tag)


def _root_filesystem() -> bytes:
    busybox = shutil.which("busybox")
    if busybox is None:
        raise NoDaemon(f"the daemon has no image {IMAGE}, and there is no static busybox to make it from")
    applets = subprocess.check_output([busybox, "--list"], text=True).split()
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for name, mode in (("bin", 0o755), ("etc", 0o755), ("root", 0o700), ("tmp", 0o1777)):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, mode
            archive.addfile(folder)
        archive.add(busybox, "bin/busybox")
        for applet in applets:
            link = tarfile.TarInfo(f"bin/{applet}")
            if applet != "busybox":
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                archive.addfile(link)
        users = b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"
        passwd = tarfile.TarInfo("etc/passwd")
        passwd.size = len(users)
        archive.addfile(passwd, io.BytesIO(users))
    return data.getvalue()


def main(command: list[str]) -> int:
    with docker_daemon(os.environ) as address:
        return subprocess.call(command, env={**os.environ, "DOCKER_HOST": address})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
