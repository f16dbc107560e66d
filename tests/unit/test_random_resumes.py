"""A run that is killed at any moment and taken up again ends as if nothing had happened, and repeats nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from highway_core.config import Settings
from highway_core.engine.graph import CompiledWorkflow
from highway_core.engine.loader import Source, compile_document
from highway_core.engine.local_resume import Restorer
from highway_core.engine.run import Run
from highway_core.engine.run_state import Instance
from highway_core.engine.steps import Steps
from highway_core.engine.task_runner import Ask
from highway_core.lifecycle import RunStatus, TaskStatus
from highway_core.persistence.in_memory import InMemoryPersistenceManager
from highway_core.tools.registry import ToolRegistry
from highway_core.utils.json_values import loads
from tests.conformance.observed import TOOLS
from tests.random_workflows import Draft, workflows
from tests.simulation import Simulation
from tests.stored_runs import new_run

ToolRegistry(Settings(tools_dir=TOOLS)).resolve("test.echo")

RUN = "simulated"


class Killed(BaseException):
    """The process is gone; what was not committed is lost."""


@dataclass
class StoredSimulation(Simulation):
    """Commits to ``store`` before work that builds on what is not stored yet, and now and then besides."""

    store: InMemoryPersistenceManager = field(default_factory=InMemoryPersistenceManager)
    dies_at: int | None = None
    worked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__post_init__()
        saved = self.store.load_run(RUN)
        if saved is None:
            self.store.create_run(new_run(RUN, variables={}, inputs={}))
            return
        restorer, start = Restorer(self._steps, saved), self._steps.start

        def restore_or_start(instance: Instance) -> None:
            if instance.status is not TaskStatus.QUEUED or not restorer.restore(instance):
                start(instance)

        self._steps.start = restore_or_start  # type: ignore[method-assign]

    def _something_happens(self) -> None:
        if self.dies_at == self.step:
            raise Killed
        super()._something_happens()
        if self._random.random() < 0.3:
            self.commit()

    def carry_out(self, steps: Steps, instance: Instance, ask: Ask) -> None:
        self.commit()
        self.worked.append(instance.path)
        super().carry_out(steps, instance, ask)

    def over(self, run: Run) -> None:
        self._steps.recorder.ended(self.now())

    def commit(self) -> None:
        self.store.save(self._steps.recorder.take())


def ending(simulation: StoredSimulation) -> Any:
    """What is stored of a run that is over, and what its tasks left for each other."""
    simulation.commit()
    saved = simulation.store.load_run(RUN)
    state, _ = simulation.store.load_workflow_state(RUN)
    assert saved is not None and state is not None
    rows = {path: (row.status, row.result_json) for path, row in saved.tasks.items()}
    return saved.status, loads(saved.result_json or "null"), rows, state.results, dict(simulation.run.root.outputs)


def killed(workflow: CompiledWorkflow, seed: int, dies_at: int, store: InMemoryPersistenceManager) -> bool:
    """Begin the run or go on with it, up to that step; False if it was over before."""
    simulation = StoredSimulation(workflow, seed, store=store, dies_at=dies_at)
    try:
        simulation.drive()
    except Killed:
        return True
    simulation.commit()
    return False


def compiled(draft: Draft) -> CompiledWorkflow:
    return compile_document(Source({"name": "random", "tasks": draft.tasks}, "random"))[0]


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(workflows(), st.lists(st.tuples(st.integers(0, 2**32), st.integers(1, 40)), min_size=1, max_size=3))
def test_a_killed_run_ends_as_if_nothing_had_happened(draft: Draft, deaths: list[tuple[int, int]]) -> None:
    workflow = compiled(draft)
    quiet = StoredSimulation(workflow, 0)
    quiet.drive()
    expected = ending(quiet)

    store = InMemoryPersistenceManager()
    if not all(killed(workflow, seed, step, store) for seed, step in deaths):
        return
    saved = store.load_run(RUN)
    assert saved is not None and saved.status is RunStatus.RUNNING
    done = {path for path, row in saved.tasks.items() if row.status is TaskStatus.COMPLETED}
    resumed = StoredSimulation(workflow, 1, store=store)
    resumed.drive()

    assert not done.intersection(resumed.worked)
    assert ending(resumed) == expected
