"""Limits kept by real workers, as the tools that are carried out see it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from highway_core.persistence.limit_store import Limit
from tests.durable_workers import Workers, held
from tests.gauge import GAUGE
from tests.waiting import eventually

LONG_POLL = 60.0
"""Nobody looks by himself during a test: who waits for a place must be told, or have set himself an alarm."""


@pytest.fixture
def office(durable_url: str, tmp_path: Path) -> Iterator[Workers]:
    """Four workers that have not begun."""
    GAUGE.clear()
    opened = Workers(durable_url, tmp_path, 4, concurrency=4, poll_seconds=LONG_POLL, queues=("default", "slow"))
    yield opened
    opened.stop()


def test_no_more_tasks_of_a_workflow_are_carried_out_at_once_than_its_limit(office: Workers) -> None:
    office.limits.put(Limit("workflow", "measured", max_running=3))
    one_by_one = {f"a{n}": {**held("here"), "dependencies": [f"a{n - 1}"] if n else []} for n in range(6)}
    all_at_once = {f"b{n}": held("here") for n in range(6)}
    runs = [office.submit({**one_by_one, **all_at_once}, queue=("default", "slow")[number % 2]) for number in range(4)]
    free = office.submit({f"c{n}": held("there", 0.3) for n in range(16)}, name="free")
    office.start()

    assert office.ended(*runs, free) == ["completed"] * 5
    assert GAUGE.most["here"] == 3
    assert len(GAUGE.begun["here"]) == 48
    assert GAUGE.most["there"] > 3


def test_no_more_tasks_of_a_queue_are_carried_out_at_once_than_its_limit(office: Workers) -> None:
    office.limits.put(Limit("queue", "slow", max_running=3))
    tasks = {f"t{n}": {**held("here"), "dependencies": [f"t{n - 1}"] if n % 3 else []} for n in range(12)}
    runs = [office.submit(tasks, queue="slow", name=f"w{number}") for number in range(4)]
    free = office.submit({f"c{n}": held("there", 0.3) for n in range(16)})
    office.start()

    assert office.ended(*runs, free) == ["completed"] * 5
    assert GAUGE.most["here"] == 3
    assert len(GAUGE.begun["here"]) == 48
    assert GAUGE.most["there"] > 3


@pytest.mark.parametrize("scope", ["queue", "workflow"])
def test_a_rate_is_kept_and_reached(office: Workers, scope: str) -> None:
    office.limits.put(Limit(scope, {"queue": "slow", "workflow": "measured"}[scope], rate_per_second=20))
    run = office.submit({f"t{n}": held("here", 0.001) for n in range(60)}, queue="slow")
    office.start()

    assert office.ended(run) == ["completed"]
    begun = sorted(GAUGE.begun["here"])
    assert len(begun) == 60
    for first, moment in enumerate(begun):  # what was saved up before the first, and what comes while they are begun
        seconds = begun[-1] - moment
        assert len(begun) - first <= 20 + 20 * seconds + 3
    assert 1.7 < begun[-1] - begun[0] < 4


def test_a_limit_that_changes_is_kept_from_then_on(office: Workers) -> None:
    office.limits.put(Limit("workflow", "measured", max_running=2))
    run = office.submit({f"t{n}": held("here", 0.05) for n in range(120)})
    office.start()
    assert eventually(lambda: len(GAUGE.begun.get("here", ())) > 8)
    assert GAUGE.most["here"] == 2
    office.limits.put(Limit("workflow", "measured", max_running=5))
    assert eventually(lambda: GAUGE.most["here"] == 5)
    office.limits.put(Limit("workflow", "measured", max_running=1))
    assert eventually(lambda: running(office) <= 1)
    GAUGE.clear()
    assert eventually(lambda: len(GAUGE.begun.get("here", ())) > 5)
    assert GAUGE.most["here"] == 1
    assert office.limits.remove("workflow", "measured")

    assert office.ended(run) == ["completed"]
    assert GAUGE.most["here"] > 5


def test_a_limit_that_is_set_while_workers_take_over_is_kept_within_seconds(office: Workers) -> None:
    tasks = {f"t{n}": {**held("here"), "dependencies": [f"t{n - 1}"] if n else []} for n in range(2000)}
    runs = [office.submit(tasks) for _ in range(3)]
    office.start()
    assert eventually(lambda: GAUGE.most["here"] > 1)
    office.limits.put(Limit("workflow", "measured", max_running=1))

    def one_at_once() -> bool:
        GAUGE.clear()
        return eventually(lambda: len(GAUGE.begun.get("here", ())) > 10) and GAUGE.most["here"] == 1

    assert eventually(one_at_once)
    for run in runs:
        office.runs.cancel(run, "the test")


def running(office: Workers) -> int:
    ((amount,),) = office.rows("SELECT count(*) FROM task_queue WHERE kind = 'work' AND status = 'running'")
    return int(amount)
