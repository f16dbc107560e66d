"""Large runs, and many: they end, each join fires once, and nobody waits long behind them. Full sizes: tests.scale."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.postgres import new_database
from tests.scale import measures
from tests.scale.documents import fan_out
from tests.scale.system import System, running
from tests.waiting import eventually

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def system(postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    from highway_core.persistence.schema import upgrade

    with new_database(postgres_server) as url:
        upgrade(url)
        with running(url, tmp_path_factory.mktemp("home"), 3) as started:
            yield started


def test_a_wide_fan_out_is_joined_once(system: System) -> None:
    figures = measures.joined_fan_out(system, 3_000, within=60)
    assert figures["peak MiB"] < 250, figures


def test_a_large_foreach_is_joined_once(system: System) -> None:
    figures = measures.joined_foreach(system, 3_000, within=60)
    assert figures["peak MiB"] < 250, figures


def test_a_small_run_gets_its_turn_behind_a_thousand_long_tasks(system: System) -> None:
    figures = measures.small_runs_behind(system, 1_000, 1.0, samples=2)
    assert figures["longest s"] < 10, figures


def test_a_loop_of_many_rounds_ends_on_three_workers(system: System) -> None:
    measures.many_rounds(system, 200, within=60)


def test_large_results_are_read_where_they_are_named_and_kept_by_nobody(system: System) -> None:
    figures = measures.large_payloads(system, 60, 500_000)
    assert figures["iterations"]["peak MiB"] < 240, figures


def test_a_large_run_that_was_cancelled_is_tried_again_to_its_end(system: System) -> None:
    run_id = system.submit(system.compile(fan_out(400, "scale.hold", 0.02)))
    assert eventually(lambda: system.statuses(run_id).get("completed", 0) > 50, within=30)
    system.runs.cancel(run_id, "the test")
    system.runs.retry(run_id, "the test")
    assert system.ends(run_id, 60) == "completed"
    assert system.statuses(run_id) == {"completed": 402}


def test_many_submissions_are_waited_for_at_once(system: System) -> None:
    measures.submits(system, 500, 50)
