"""Properties of every run, over random documents and random orders of events."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from highway_core.config import Settings
from highway_core.engine.graph import CompiledWorkflow
from highway_core.engine.loader import Source, compile_document
from highway_core.lifecycle import TASK_FINAL, TaskStatus
from highway_core.tools.registry import ToolRegistry
from tests.conformance.observed import TOOLS
from tests.random_workflows import Draft, workflows
from tests.simulation import Simulation, outcome

ToolRegistry(Settings(tools_dir=TOOLS)).resolve("test.echo")

many = settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


def compiled(draft: Draft) -> CompiledWorkflow:
    return compile_document(Source({"name": "random", "tasks": draft.tasks}, "random"))[0]


@many
@given(workflows(), st.integers(0, 2**32))
def test_every_run_ends_with_every_task_decided(draft: Draft, seed: int) -> None:
    simulation = Simulation(compiled(draft), seed)
    run = simulation.drive()
    assert all(instance.status in TASK_FINAL for instance in run.root.instances)


@many
@given(workflows(), st.integers(0, 2**32))
def test_no_task_starts_before_its_predecessors_are_decided(draft: Draft, seed: int) -> None:
    simulation = Simulation(compiled(draft), seed)
    simulation.drive()
    for name, sources in draft.waits.items():
        started = simulation.started_at(name)
        if started is None:
            continue
        for source in sources:
            ended = simulation.final_at(source)
            assert ended is not None and ended <= started, f"{name} started before {source} ended"


@many
@given(workflows(), st.integers(0, 2**32))
def test_no_task_of_a_dead_path_starts(draft: Draft, seed: int) -> None:
    simulation = Simulation(compiled(draft), seed)
    run = simulation.drive()
    for instance in run.root.instances:
        if instance.node.task_id in draft.dead:
            assert instance.started_at is None, f"{instance.path} stands in an arm that was not taken"
            assert instance.status in {TaskStatus.SKIPPED, TaskStatus.UPSTREAM_FAILED}


@many
@given(workflows(), st.integers(0, 2**32), st.integers(0, 2**32))
def test_the_result_does_not_depend_on_the_order_of_events(draft: Draft, one: int, other: int) -> None:
    workflow = compiled(draft)
    first, second = Simulation(workflow, one), Simulation(workflow, other)
    first.drive()
    second.drive()
    assert outcome(first) == outcome(second)
