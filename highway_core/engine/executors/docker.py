"""The ``docker`` runtime: one container a task, watched while it runs and removed whatever happens.

The container's name is known to the guardian before the container is created, so that not even ``kill -9`` of this
process leaves it behind; what a power cut leaves is removed by the next process that uses the runtime, by the
container's owner label. Output is read as it comes and kept nowhere else: a container cannot fill the disk with logs.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from highway_core.config import Settings, current_settings
from highway_core.engine.executors.base import BaseExecutor, ExecutionContext, Work
from highway_core.engine.executors.docker_connection import connect, daemon_errors, docker_host, explain, is_missing
from highway_core.engine.executors.docker_options import read_options
from highway_core.engine.resource_manager import OWNER_LABEL, RUN_LABEL, TASK_LABEL
from highway_core.errors import OutputLimitError, TaskError, TaskStoppedError, TaskTimeoutError
from highway_core.utils.guardian import guardian
from highway_core.utils.naming import generate_safe_container_name
from highway_core.utils.process_identity import is_alive, process_identity

if TYPE_CHECKING:
    from docker.models.containers import Container

log = logging.getLogger("HighwayEngine")

_GRACE = 1
"""Seconds between SIGTERM and SIGKILL."""
_SHOWN = 2_000
"""How much of the end of the output an error message shows."""


class DockerExecutor(BaseExecutor):
    """Runs containers. Made when the first task needs one: it connects to the daemon.

    Raises DockerRefusedError (a RuntimeError) where Docker is not to be used, DockerUnreachableError (a
    ConnectionError) where no daemon answers.
    """

    runtime = "docker"

    def __init__(self, settings: Settings | None = None) -> None:
        self._settings = current_settings() if settings is None else settings
        self._client = connect(self._settings)
        self._reaped = False
        self._lock = threading.Lock()

    def execute(self, work: Work, ctx: ExecutionContext) -> str:
        """The container's output, stdout and stderr together, without the blanks at its end.

        Raises TaskError with the end of the output when the container ends with another code than 0.
        """
        leash = _Leash()
        timer = _timer(work, leash)
        try:
            with ctx.tool.stop.on_stop(lambda: leash.pull(TaskStoppedError(ctx.tool.stop.reason or "stopped"))):
                self._reap_once()
                return self._execute(work, ctx, leash)
        except daemon_errors() as error:
            leash.check()  # what it looks like from here when somebody else ended it
            raise TaskError(f"Container of image '{work.image}': {explain(error)}") from error
        finally:
            if timer is not None:
                timer.cancel()

    def remove_orphans(self) -> int:
        """Remove the containers and networks whose owner, a Highway process on this host, is dead. How many."""
        removed = 0
        for container in self._client.containers.list(all=True, filters={"label": OWNER_LABEL}, ignore_removed=True):
            removed += _is_orphan(container.labels) and _tidy(container.name, partial(_remove_container, container))
        for network in self._client.networks.list(filters={"label": OWNER_LABEL}):
            removed += _is_orphan(network.attrs.get("Labels") or {}) and _tidy(network.name, network.remove)
        return removed

    def close(self) -> None:
        """Give the connections back."""
        self._client.close()

    def _reap_once(self) -> None:
        with self._lock:
            first, self._reaped = not self._reaped, True
        if first:
            self.remove_orphans()

    def _execute(self, work: Work, ctx: ExecutionContext, leash: _Leash) -> str:
        from docker.types import LogConfig  # noqa: PLC0415 - see connect()

        image = work.image or ""
        options = read_options(work.options, self._settings, ctx.tool.run_id, ctx.resources.network_names)
        self._provide(image, leash)
        name = generate_safe_container_name(ctx.tool.task_id, f"{ctx.tool.run_id} {secrets.token_hex(8)}")
        for volume in options.volumes:
            ctx.resources.register_volume(volume)
        guardian.watch_container(name, docker_host(self._settings))
        try:
            container = self._client.containers.create(
                image,
                work.command,
                name=name,
                labels={
                    RUN_LABEL: ctx.tool.run_id,
                    TASK_LABEL: ctx.tool.task_id,
                    OWNER_LABEL: process_identity(),
                },
                log_config=LogConfig(type="none"),
                **options.create,
            )
            ctx.resources.register_container(str(container.id), name)
            return _Watched(container, image, leash, self._settings.max_output_bytes).run()
        finally:
            self._remove(name, ctx)

    def _provide(self, image: str, leash: _Leash) -> None:
        """See that the image is here; pull it only if it is not."""
        from docker.utils import parse_repository_tag  # noqa: PLC0415 - see connect()

        try:
            self._client.images.get(image)
        except daemon_errors() as error:
            if not is_missing(error):
                raise
        else:
            return
        log.info("pulling image %s", image)
        repository, tag = parse_repository_tag(image)
        said = ""
        try:
            for line in self._client.api.pull(repository, tag or "latest", stream=True, decode=True):
                leash.check()
                said = said or line.get("error", "")
        except daemon_errors() as error:
            said = explain(error)
        if said:
            raise TaskError(
                f"Image '{image}' is not on this machine and cannot be pulled: {said.rstrip('.')}. "
                "Check its name, or build or import it here."
            )

    def _remove(self, name: str, ctx: ExecutionContext) -> None:
        try:
            container = self._client.containers.get(name)
            _remove_container(container)
            ctx.resources.forget_container(str(container.id))
        except daemon_errors() as error:
            if not is_missing(error):
                # It stays with the guardian and the resource manager, who try again.
                log.warning("container %s could not be removed: %s", name, explain(error))
                return
        guardian.forget_container(name)


def _remove_container(container: Container) -> None:
    container.remove(force=True, v=True)


def _is_orphan(labels: Mapping[str, str]) -> bool:
    return is_alive(labels.get(OWNER_LABEL, "")) is False


def _tidy(name: str | None, remove: Callable[[], None]) -> bool:
    try:
        remove()
    except daemon_errors() as error:  # somebody else was faster, or a container still uses the network
        log.debug("%s, left by a process that has ended, was not removed: %s", name, explain(error))
        return False
    log.info("removed %s, left by a process that has ended", name)
    return True


class _Leash:
    """Ends the work from another thread: a stopped scope, a timeout. The first reason stands."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._error: TaskError | None = None
        self._kill: Callable[[], None] | None = None

    def pull(self, error: TaskError) -> None:
        with self._lock:
            if self._error is not None:
                return
            self._error = error
            kill = self._kill
        if kill is not None:
            # The daemon may take its time, and whoever stops a scope has other work.
            threading.Thread(target=kill, name="highway-container-kill", daemon=True).start()

    def fasten(self, kill: Callable[[], None]) -> None:
        """``kill`` is how it is ended from now on: at once, and raising, if that is already decided."""
        with self._lock:
            self._kill = kill
            decided = self._error
        if decided is not None:
            kill()
            raise decided

    def check(self) -> None:
        if self._error is not None:
            raise self._error


class _Watched:
    """One container that was created: started, listened to, judged by its exit code."""

    def __init__(self, container: Container, image: str, leash: _Leash, max_output: int) -> None:
        self._container = container
        self._image = image
        self._leash = leash
        self._max_output = max_output

    def run(self) -> str:
        # Before the start, or the first words would be lost.
        with _attached(self._container) as output:
            self._leash.check()
            self._container.start()
            self._leash.fasten(self._end)
            text = self._listen(output)
            code = self._container.wait(timeout=None)["StatusCode"]
        self._leash.check()
        if code != 0:
            raise TaskError(self._failure(code, text))
        return text

    def _listen(self, output: Iterable[bytes]) -> str:
        chunks: list[bytes] = []
        size = 0
        for chunk in output:
            size += len(chunk)
            if size > self._max_output:
                raise OutputLimitError(
                    f"The container of image '{self._image}' printed more than {self._max_output:,} bytes and was "
                    "removed; print less, or raise HIGHWAY_MAX_OUTPUT_BYTES."
                )
            chunks.append(chunk)
        return b"".join(chunks).decode("utf-8", "replace").rstrip()

    def _end(self) -> None:
        try:
            self._container.stop(timeout=_GRACE)
        except daemon_errors() as error:
            log.debug("container %s was not stopped: %s", self._container.name, explain(error))

    def _failure(self, code: int, text: str) -> str:
        self._container.reload()
        state = self._container.attrs.get("State", {})
        why = " (out of memory: raise its docker option 'memory')" if state.get("OOMKilled") else ""
        said = text if len(text) <= _SHOWN else f"…{text[-_SHOWN:]}"
        return f"Container of image '{self._image}' ended with exit code {code}{why}: {said or 'it printed nothing'}"


@contextlib.contextmanager
def _attached(container: Container) -> Iterator[Iterable[bytes]]:
    """What the container prints, both streams as they come, until it has closed them."""
    output: Any = container.attach(stream=True, stdout=True, stderr=True)
    try:
        yield output
    finally:
        # Its own close() leaves the connection to the garbage collector, and there is no other public way.
        output._response.close()  # noqa: SLF001


def _timer(work: Work, leash: _Leash) -> threading.Timer | None:
    """Pulls the leash after the task's timeout, if that is to kill."""
    if work.kill_after is None:
        return None
    said = f"The container of image '{work.image}' ran longer than {work.kill_after:g} s and was removed."
    timer = threading.Timer(work.kill_after, leash.pull, [TaskTimeoutError(said)])
    timer.daemon = True
    timer.start()
    return timer
