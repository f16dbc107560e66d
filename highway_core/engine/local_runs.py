"""Opening LOCAL runs: a new one, one that is taken up again, or one that is over already; and who watches them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from highway_core.engine.graph import CompiledWorkflow
from highway_core.engine.idempotency import KeyLoop, LocalKeys
from highway_core.engine.local_resume import Restorer
from highway_core.engine.local_services import LocalServices
from highway_core.engine.run import Host, Run
from highway_core.engine.run_records import RunRecorder
from highway_core.engine.run_state import Instance
from highway_core.engine.steps import Loop, Steps
from highway_core.errors import RunConflictError, RunError
from highway_core.lifecycle import RunMode, RunStatus
from highway_core.persistence.manager import RunRecord, SavedRun
from highway_core.utils.json_values import loads
from highway_core.utils.process_identity import is_alive, process_identity

MAX_RUN_DEPTH = 50
"""How deep runs may start runs. A workflow that starts itself ends here."""


_PART = "#"
_NUMBERS = itertools.count(1)
_ACTIVE: set[str] = set()
"""The orchestrators of this process that have not ended: process identity, ``#`` and a number."""


def _is_driven(owner: str) -> bool:
    """True if the orchestrator that calls itself ``owner`` may still be at work."""
    process = owner.partition(_PART)[0]
    return owner in _ACTIVE if process == process_identity() else is_alive(process) is not False


class RunListener:
    """Hears what happens to a run, on the deciding thread. Override what you need; never block."""

    def run_started(self, run: Run) -> None:
        """The run begins, or goes on, or was over before."""

    def task_changed(self, run: Run, instance: Instance) -> None:
        """A task instance, of the run or of a child run, has a new status."""

    def run_over(self, run: Run) -> None:
        """The run has ended and is stored."""


class _Driver(Host, Loop, KeyLoop, Protocol):
    """The orchestrator, as runs and steps see it."""


@dataclass(slots=True)
class DrivenRun:
    """A run and what drives it."""

    run: Run
    recorder: RunRecorder
    steps: Steps
    restorer: Restorer | None = None


class RunOpener:
    """Opens runs for one orchestrator."""

    def __init__(self, driver: _Driver, services: LocalServices) -> None:
        self._driver = driver
        self._owner = f"{process_identity()}{_PART}{next(_NUMBERS)}"
        _ACTIVE.add(self._owner)
        self._services = services
        self._store = services.store

    def open(
        self, run_id: str, workflow: CompiledWorkflow, inputs: Mapping[str, Any], parent: Run | None = None
    ) -> DrivenRun:
        """The run of that id, in the store; RunConflictError if it cannot be ours."""
        depth = 0 if parent is None else parent.depth + 1
        if depth > MAX_RUN_DEPTH:
            raise RunError(f"Runs nest more than {MAX_RUN_DEPTH} deep; does '{workflow.model.name}' start itself?")
        saved = self._store.load_run(run_id)
        if saved is None:
            run = Run(workflow, run_id, inputs, self._driver, self._driver.now())
            self._store.create_run(self._record(run, parent))
            driven = self._driven(run)
        else:
            driven = self._reopen(saved, workflow, inputs)
        driven.run.depth = depth
        return driven

    def close(self) -> None:
        """The runs that were opened are driven no longer."""
        _ACTIVE.discard(self._owner)

    def _driven(self, run: Run) -> DrivenRun:
        recorder = RunRecorder(run)
        steps = Steps(run, recorder, self._driver, self._services)
        steps.keys = LocalKeys(steps, recorder, self._driver)
        return DrivenRun(run, recorder, steps)

    def _record(self, run: Run, parent: Run | None) -> RunRecord:
        workflow = run.compiled
        return RunRecord(
            run_id=run.run_id,
            workflow_name=workflow.model.name,
            mode=RunMode.LOCAL,
            status=RunStatus.RUNNING,
            start_task=workflow.model.start_task,
            definition_hash=workflow.definition_hash,
            definition_json=workflow.definition_json,
            variables=run.variables,
            inputs=run.inputs,
            parent_run_id=None if parent is None else parent.run_id,
            started_at=run.started_at,
            owner=self._owner,
        )

    def _reopen(self, saved: SavedRun, workflow: CompiledWorkflow, inputs: Mapping[str, Any]) -> DrivenRun:
        record = saved.record
        if record.definition_hash != workflow.definition_hash:
            raise RunConflictError(
                f"Run '{record.run_id}' was started from another version of workflow '{record.workflow_name}'; "
                "a run keeps the document that it began with. Choose a new run id."
            )
        if inputs and dict(inputs) != dict(record.inputs):
            raise RunConflictError(f"Run '{record.run_id}' was started with other inputs. Choose a new run id.")
        run = Run(workflow, record.run_id, record.inputs, self._driver, record.started_at)
        if saved.status is RunStatus.COMPLETED:
            run.recall(saved.status, None, loads(saved.result_json or "null"))
            return self._driven(run)
        if saved.status is RunStatus.RUNNING and _is_driven(record.owner):
            raise RunConflictError(f"Run '{record.run_id}' is being run by process {record.owner}.")
        self._store.take_over(record.run_id, record.owner, self._owner, RunStatus.RUNNING)
        saved = self._store.load_run(record.run_id) or saved  # its former owner may have stored something since
        driven = self._driven(run)
        driven.restorer = Restorer(driven.steps, saved)
        return driven
