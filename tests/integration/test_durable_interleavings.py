"""Runs at several desks, in any order of events and with any process killed, end as LOCAL mode ends them."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from highway_core.engine.durable import driver, image
from highway_core.engine.durable.services import DurableServices
from highway_core.lifecycle import RunStatus
from highway_core.persistence import transition_store
from tests.desk_runs import (
    compiled,
    durable_end,
    hold_invariants,
    local_end,
    services_for,
    spiced_workflows,
    tasks_of,
    wild_workflows,
    write_children,
)
from tests.desks import FAULTS, MILD, Desks
from tests.random_workflows import Draft

_numbers = count(1)
some = settings(max_examples=75, deadline=None, database=None, suppress_health_check=list(HealthCheck))
windows = st.sampled_from([1, 2, 3, 200])
quick = st.sampled_from([1, 2, 5, 500])
inline = st.sampled_from([0, 2, transition_store.INLINE_BYTES])
limits = st.tuples(windows, quick, inline)


@pytest.fixture
def services(durable_url: str, tmp_path: Path) -> DurableServices:
    write_children(tmp_path)
    return services_for(durable_url, tmp_path)


@pytest.fixture(autouse=True)
def _limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a test sets them to."""
    monkeypatch.setattr(driver, "_QUICK", driver._QUICK)
    for module in (image, transition_store):
        monkeypatch.setattr(module, "INLINE_BYTES", module.INLINE_BYTES)


def _open(url: str, services: DurableServices, seed: int, seats: int, within: tuple[int, int, int]) -> Desks:
    services.run_window, driver._QUICK, inline_bytes = within
    image.INLINE_BYTES = transition_store.INLINE_BYTES = inline_bytes
    desks = Desks(url, services, seed, seats=seats, queue=f"q{next(_numbers)}", look=0.3)
    for seat in desks.seats:
        seat.desk._large._most = 0  # none is kept but the one that was used last
    return desks


@some
@given(spiced_workflows(), st.integers(0, 2**32), limits, st.integers(1, 3), st.sampled_from([(), MILD, FAULTS]))
def test_a_run_ends_as_in_local_mode_whatever_happens_to_the_processes(
    durable_url: str,
    services: DurableServices,
    draft: Draft,
    seed: int,
    within: tuple[int, int, int],
    seats: int,
    faults: tuple[str, ...],
) -> None:
    workflow = compiled(draft.tasks, services)
    desks = _open(durable_url, services, seed, seats, within)
    try:
        run_id = desks.start(f"run-{desks.queue}", workflow)
        desks.faults = faults
        for _ in range(desks.random.randint(10, 80)):
            desks.step()
        desks.finish()
        assert not desks.open_runs(), desks.stuck()
        expected, found = local_end(workflow, seed), durable_end(desks, run_id)
        if "kill" in faults and _loops_try_again(draft):  # a lost lease is an attempt: what it counted, it counted
            del expected["memory"], found["memory"]
        assert found == expected
        hold_invariants(desks, activations=4)
    finally:
        desks.close()


def _loops_try_again(draft: Draft) -> bool:
    loops = (task for _, task in tasks_of(draft.tasks) if task["operator_type"] in {"foreach", "while"})
    return any("retry_policy" in task for task in loops)


@some
@given(wild_workflows(), st.integers(0, 2**32), limits, st.integers(1, 3), st.sampled_from([(), MILD, FAULTS]))
def test_no_run_is_stuck_whatever_operators_do(
    durable_url: str,
    services: DurableServices,
    tasks: dict[str, dict[str, object]],
    seed: int,
    within: tuple[int, int, int],
    seats: int,
    faults: tuple[str, ...],
) -> None:
    desks = _open(durable_url, services, seed, seats, within)
    try:
        run_id = desks.start(f"run-{desks.queue}", compiled(tasks, services))
        desks.faults, desks.deeds = faults, _deeds(desks, tasks)
        desks.events = [f"{run_id}-x", f"{run_id}-y"]
        for _ in range(desks.random.randint(10, 80)):
            desks.step()
        _let_go_on(desks)
        for one in desks.open_runs():
            waits = "SELECT 1 FROM tasks WHERE starts_with(workflow_id, %s) AND status = 'WAITING_FOR_EVENT'"
            assert desks.connection.fetch(waits, (one,)), f"{one} is stuck: {desks.stuck()}"
        hold_invariants(desks, activations=40)
        for seat in desks.seats:
            assert not seat.hands.jobs
            assert not seat.driver._timeouts
            assert seat.driver.images.keys() == seat.desk._weights.keys()
            assert seat.desk._weight == sum(seat.desk._weights.values())
    finally:
        desks.close()


def _deeds(desks: Desks, tasks: dict[str, dict[str, object]]) -> list[object]:
    runs = desks.operations
    loops = [name for name, task in tasks.items() if task.get("dynamic")]
    return [
        lambda run_id: runs.pause(run_id, "test"),
        lambda run_id: runs.unpause(run_id, "test"),
        lambda run_id: runs.unpause(run_id, "test"),
        lambda run_id: runs.cancel(run_id, "test"),
        lambda run_id: runs.retry(run_id, "test"),
        *(lambda run_id, loop=loop: runs.add_items(run_id, loop, [7], "test") for loop in loops),
    ]


def _let_go_on(desks: Desks) -> None:
    """Until nobody holds a run back."""
    while True:
        desks.finish()
        paused = [run_id for run_id in desks.open_runs() if desks.status(run_id) is RunStatus.PAUSED]
        if not paused:
            return
        for run_id in paused:
            desks.operations.unpause(run_id, "test")
