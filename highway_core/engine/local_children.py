"""Runs that tasks of a LOCAL run start: opened under an id that their place fixes, so that a resumed run finds them."""

from __future__ import annotations

from highway_core.engine.context import ChildOutcome
from highway_core.engine.decisions import ChildRun
from highway_core.engine.definitions import Definitions
from highway_core.engine.local_runs import DrivenRun, RunOpener
from highway_core.engine.run import Run
from highway_core.engine.run_state import Instance
from highway_core.errors import DocumentError, RunError
from highway_core.lifecycle import RunStatus, TaskStatus


class ChildRuns:
    """The child runs of one orchestrator."""

    def __init__(self, opener: RunOpener, definitions: Definitions | None) -> None:
        self._opener = opener
        self._definitions = definitions
        self._of: dict[Instance, list[Run]] = {}

    def open(self, run: Run, instance: Instance, child: ChildRun) -> DrivenRun | ChildOutcome:
        """The run of ``child``, to be driven; or how it ended, if it is over already or cannot be started."""
        run_id = f"{run.run_id}/{instance.path}/{child.branch}"
        if instance.attempt > 1:
            run_id += f"#{instance.attempt}"
        try:
            if self._definitions is None:
                raise RunError(f"Workflow '{child.workflow_name}' cannot be looked up: no definitions were given.")
            workflow = self._definitions.find(child.workflow_name, child.definition_id)
            driven = self._opener.open(run_id, workflow, child.inputs, parent=run)
        except (RunError, DocumentError) as error:
            return ChildOutcome(child.branch, TaskStatus.FAILED, {}, str(error), run_id=run_id)
        if driven.run.is_over:
            return child_outcome(child.branch, driven.run)
        driven.run.parent = (run, instance, child)
        self._of.setdefault(instance, []).append(driven.run)
        return driven

    def cancel(self, run: Run, instance: Instance) -> None:
        """Cancel the child runs of a task that is given up."""
        for child in self._of.pop(instance, ()):
            child.terminate(RunStatus.CANCELLED, f"Cancelled with its parent, run '{run.run_id}'.")


def child_outcome(branch: str, run: Run) -> ChildOutcome:
    """A child run that is over, as its parent's task sees it."""
    return ChildOutcome(branch, TaskStatus(run.status.value), {}, run.error, run.result, run.run_id)
