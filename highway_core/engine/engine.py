"""Entry points of LOCAL mode, and the one module that wires the engine to its stores and executors."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from highway_core.config import Settings, current_settings
from highway_core.engine.breakers import Breakers
from highway_core.engine.definitions import Definitions
from highway_core.engine.executors.base import BaseExecutor
from highway_core.engine.executors.local_python import LocalPythonExecutor
from highway_core.engine.graph import CompiledWorkflow
from highway_core.engine.loader import Source, compile_document, read_source, split_pick
from highway_core.engine.local_runs import RunListener
from highway_core.engine.local_services import LocalServices
from highway_core.engine.orchestrator import Orchestrator
from highway_core.engine.run import Run
from highway_core.engine.task_runner import TaskRunner
from highway_core.errors import DocumentError, HighwayError, TaskError
from highway_core.lifecycle import RunStatus
from highway_core.persistence.file_storage import FilePersistenceManager
from highway_core.persistence.manager import PersistenceManager
from highway_core.persistence.sql_persistence import SQLPersistenceManager
from highway_core.tools.bulkhead import BulkheadManager
from highway_core.tools.context import SandboxRequest, SandboxResult, ToolContext
from highway_core.tools.registry import ToolRegistry

_FILES = "files://"
"""A folder of JSON files in place of a database."""


class LocalEngine:
    """What LOCAL runs of one process share: settings, tools, executors, bulkheads and a store."""

    def __init__(
        self,
        settings: Settings | None = None,
        persistence_manager: PersistenceManager | None = None,
        breakers: Breakers | None = None,
    ) -> None:
        self.settings = settings or current_settings()
        self.registry = ToolRegistry(self.settings)
        self._store = persistence_manager
        self._owns_store = persistence_manager is None
        self._executors: dict[str, BaseExecutor] = {}
        self._bulkheads = BulkheadManager()
        self.runner = TaskRunner(self.settings, self.registry, self._bulkheads, self._executor, breakers)

    @cached_property
    def store(self) -> PersistenceManager:
        """The store that was given, or the one of ``HIGHWAY_DATABASE_URL``."""
        url = self.settings.database_url
        if self._store is not None:
            return self._store
        if url.startswith(_FILES):
            return FilePersistenceManager(url.removeprefix(_FILES))
        return SQLPersistenceManager(engine_url=url)

    def compile(self, source: Source, inputs: Mapping[str, Any] | None = None) -> CompiledWorkflow:
        """Check a document for a run with ``inputs``; DocumentError lists what is wrong."""
        return compile_document(source, self.registry, inputs or {})[0]

    def orchestrator(
        self,
        workflow: CompiledWorkflow,
        run_id: str | None = None,
        inputs: Mapping[str, Any] | None = None,
        listener: RunListener | None = None,
    ) -> Orchestrator:
        """An orchestrator for one run."""
        services = LocalServices(
            self.store,
            self.runner,
            self.settings,
            Definitions(self._folders(workflow), self.registry, [workflow]),
            self.sandbox,
        )
        return Orchestrator(run_id or str(uuid.uuid4()), workflow, services, inputs, listener)

    def _folders(self, workflow: CompiledWorkflow) -> list[Path]:
        folders = [] if self.settings.workflows_dir is None else [self.settings.workflows_dir]
        path, _ = split_pick(workflow.source)
        return [*folders, path.parent] if path.is_file() else folders

    def _executor(self, runtime: str) -> BaseExecutor:
        executor = self._executors.get(runtime)
        if executor is None:
            executor = self._executors.setdefault(runtime, self._new_executor(runtime))
        return executor

    def _new_executor(self, runtime: str) -> BaseExecutor:
        if runtime == LocalPythonExecutor.runtime:
            return LocalPythonExecutor()
        if runtime == "docker":
            from highway_core.engine.executors.docker import DockerExecutor  # noqa: PLC0415 - docker is slow to import

            return DockerExecutor(self.settings)
        raise TaskError(f"There is no runtime '{runtime}'; there are python and docker.")

    def sandbox(self, request: SandboxRequest, context: ToolContext) -> SandboxResult:
        from highway_core.engine.executors.sandbox import SandboxExecutor  # noqa: PLC0415 - few runs need it

        return SandboxExecutor()(request, context)

    def close(self) -> None:
        """Let go of executors, bulkheads, and a store that nobody handed in."""
        for executor in self._executors.values():
            executor.close()
        self._bulkheads.shutdown_all(timeout=0)
        if self._owns_store and "store" in self.__dict__:
            self.store.close()


def run_workflow(
    source: str | Path | Mapping[str, Any] | object,
    run_id: str | None = None,
    *,
    inputs: Mapping[str, Any] | None = None,
    persistence_manager: PersistenceManager | None = None,
    settings: Settings | None = None,
    listener: RunListener | None = None,
) -> dict[str, Any]:
    """Run a document to its end in this process.

    ``source`` is a path (YAML, JSON or Python), a dict, or a ``highway_dsl.Workflow``. Returns ``status``,
    ``workflow_id``, ``error`` and ``result``. The same ``run_id`` again resumes the run, without doing completed tasks
    again. Raises FileNotFoundError, DocumentError, RunConflictError or StorageError; a failing workflow does not raise.
    """
    engine = LocalEngine(settings, persistence_manager)
    try:
        workflow = engine.compile(read_source(source), inputs)
        return summary(engine.orchestrator(workflow, run_id, inputs, listener).run())
    finally:
        engine.close()


def summary(run: Run) -> dict[str, Any]:
    """What the entry points return of a run."""
    return {"status": run.status.value, "workflow_id": run.run_id, "error": run.error, "result": run.result}


def run_workflow_from_yaml(
    yaml_path: str,
    workflow_run_id: str | None = None,
    persistence_manager: PersistenceManager | None = None,
) -> dict[str, Any]:
    """Run a YAML file to its end in LOCAL mode: ``{"status", "workflow_id", "error", "result"}``.

    Never raises for what a user can do wrong: a document that cannot be read gives ``status`` failed and an error that
    begins with "Failed to load or parse YAML", anything else the error's own text.
    """
    run_id = workflow_run_id or str(uuid.uuid4())
    failed = {"status": RunStatus.FAILED.value, "workflow_id": run_id, "result": None}
    try:
        return run_workflow(yaml_path, run_id, persistence_manager=persistence_manager)
    except (DocumentError, FileNotFoundError) as error:
        return {**failed, "error": f"Failed to load or parse YAML: {error}"}
    except HighwayError as error:
        return {**failed, "error": str(error)}
