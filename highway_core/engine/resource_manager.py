"""What a run holds at the Docker daemon (containers, networks, volumes), and the end of it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from highway_core.config import Settings, current_settings
from highway_core.engine.executors.docker_connection import (
    DockerUnreachableError,
    connect,
    daemon_errors,
    explain,
    is_missing,
    why_not,
)
from highway_core.utils.naming import generate_unique_identifier
from highway_core.utils.process_identity import process_identity

if TYPE_CHECKING:
    from docker import DockerClient

log = logging.getLogger("HighwayEngine")

OWNER_LABEL = "highway.owner"
"""The process that will remove it; any other may, once that one is dead."""
RUN_LABEL = "highway.run"
TASK_LABEL = "highway.task"


class ContainerResourceManager:
    """Remembers what was made for ``workflow_id`` (a run's id) and removes it. Thread-safe; a context manager.

    Where Docker is not to be used (see :func:`why_not`) it does nothing.
    """

    def __init__(self, workflow_id: str, settings: Settings | None = None) -> None:
        self.workflow_id = workflow_id
        self.containers: set[str] = set()
        self.networks: set[str] = set()
        self.volumes: set[str] = set()
        self._network_names: set[str] = set()
        self._settings = settings
        self._client: DockerClient | None = None
        self._lock = threading.RLock()

    @property
    def settings(self) -> Settings:
        return current_settings() if self._settings is None else self._settings

    @property
    def docker_client(self) -> DockerClient | None:
        """Connected when first asked for; None where Docker is not to be used."""
        with self._lock:
            if self._client is None and why_not(self.settings) is None:
                self._client = connect(self.settings)
            return self._client

    def register_container(self, container_id: str, name: str) -> None:
        log.debug("run %s holds container %s (%s)", self.workflow_id, name, container_id)
        with self._lock:
            self.containers.add(container_id)

    def forget_container(self, container_id: str) -> None:
        """It has been removed."""
        with self._lock:
            self.containers.discard(container_id)

    def register_network(self, network_id: str, name: str) -> None:
        log.debug("run %s holds network %s (%s)", self.workflow_id, name, network_id)
        with self._lock:
            self.networks.add(network_id)
            self._network_names.add(name)

    @property
    def network_names(self) -> set[str]:
        """Of the networks that are held."""
        with self._lock:
            return self._network_names.copy()

    def register_volume(self, name: str) -> None:
        with self._lock:
            self.volumes.add(name)

    def create_isolated_network(self, base: str) -> str:
        """The name of a network of this run on which containers reach each other and nothing else."""
        name = generate_unique_identifier(base, self.workflow_id)
        client = self.docker_client
        if client is None:
            return name
        with self._lock:
            if not client.networks.list(names=[f"^{name}$"]):
                labels = {RUN_LABEL: self.workflow_id, OWNER_LABEL: process_identity()}
                network = client.networks.create(name, driver="bridge", internal=True, labels=labels)
                self.register_network(str(network.id), name)
        return name

    def cleanup_all(self) -> None:
        """Remove everything; what cannot be removed is logged and does not keep the rest."""
        with self._lock:
            containers, networks, volumes = self.containers.copy(), self.networks.copy(), self.volumes.copy()
            self.containers.clear()
            self.networks.clear()
            self._network_names.clear()
            self.volumes.clear()
        client = self._client_for_cleanup() if containers or networks or volumes else None
        if client is not None:
            self._remove("container", containers, lambda key: client.containers.get(key).remove(force=True, v=True))
            self._remove("network", networks, lambda key: client.networks.get(key).remove())
            self._remove("volume", volumes, lambda key: client.volumes.get(key).remove())
        self._disconnect()

    def __enter__(self) -> ContainerResourceManager:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cleanup_all()

    def _client_for_cleanup(self) -> DockerClient | None:
        try:
            return self.docker_client
        except DockerUnreachableError as error:
            log.warning("run %s: what it holds at Docker cannot be removed: %s", self.workflow_id, error)
            return None

    def _remove(self, kind: str, keys: set[str], remove: Callable[[str], Any]) -> None:
        for key in keys:
            try:
                remove(key)
            except daemon_errors() as error:
                if not is_missing(error):
                    log.warning("run %s: %s %s was not removed: %s", self.workflow_id, kind, key, explain(error))

    def _disconnect(self) -> None:
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None
