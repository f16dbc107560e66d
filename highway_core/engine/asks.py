"""The question that a task's handler is asked: what it may see of the run, and the context of its tool."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol

from highway_core.config import Settings
from highway_core.engine.data import DataView
from highway_core.engine.graph import Node
from highway_core.engine.run import Run
from highway_core.engine.run_state import Instance
from highway_core.engine.task_runner import Ask, TaskRunner
from highway_core.tools.context import FetchArtifact, Sandbox, ToolContext
from highway_core.utils.stopping import StopScope

_NO_EXTRAS: Mapping[str, Any] = {}


class StepServices(Protocol):
    """What the steps of all runs of a process share."""

    @property
    def runner(self) -> TaskRunner: ...

    @property
    def settings(self) -> Settings: ...

    @property
    def sandbox(self) -> Sandbox | None: ...

    @property
    def fetch_artifact(self) -> FetchArtifact | None: ...


class Asks:
    """Makes the questions of one run."""

    def __init__(self, run: Run, services: StepServices) -> None:
        self._run = run
        self.runner = services.runner
        self._settings = services.settings
        self._sandbox = services.sandbox
        self._fetch_artifact = services.fetch_artifact

    def works(self, node: Node) -> bool:
        """True if the task calls tools on a thread of its own: not what has its place in the transaction, as a memory
        tool or the asking of a person."""
        return self.runner.works(node) and not self.runner.is_transactional(node)

    def ask(self, instance: Instance, now: datetime) -> Ask:
        """The question to ``instance``, as things stand."""
        run, scope = self._run, instance.scope
        instance.stop = stop = StopScope()
        tool = ToolContext(
            run_id=run.run_id,
            workflow_name=run.compiled.model.name,
            task_id=instance.path,
            attempt=instance.attempt,
            settings=self._settings,
            stop=stop,
            state=scope.values,
            sandbox=self._sandbox,
            fetch_artifact=self._fetch_artifact,
            inputs=run.inputs,
            idempotency_key=f"{run.run_id}:{instance.path}",
        )
        view = self.view(instance)
        return Ask(instance.node, instance.path, instance.attempt, view, now, tool, instance.epoch)

    def view(self, instance: Instance) -> DataView:
        """What the references of ``instance`` find."""
        run, scope = self._run, instance.scope
        extras = _NO_EXTRAS
        if instance.cause is not None:
            extras = {"failed_task_id": instance.cause.node.task_id, "error_message": instance.cause.error or ""}
        if instance.node.aliases:
            loops = {frame.operator_id for frame in scope.loops}  # {{each.item}} means the loop, not its result
            aliases = instance.node.aliases.items()
            extras = {**extras, **{name: scope.outputs.get(one) for name, one in aliases if name not in loops}}
        # What calls tools has no such field; asking its model all the same would cost 2 µs.
        source = None if self.runner.works(instance.node) else getattr(instance.node.task, "output_of", None)
        if source is not None:
            extras = {**extras, "output": scope.outputs.get(source)}
        return DataView(
            run.variables,
            run.inputs,
            scope.results,
            scope.outputs,
            run.memory,
            scope.loops,
            extras,
            run.info,
            self._settings.secret,
            self._env,
            scope.graph.names,
        )

    def _env(self, name: str) -> str | None:
        return self._settings.environ.get(name) if name in self._settings.env_allowed else None
