"""The conformance table in DURABLE mode: every row, with one worker and with three, on PostgreSQL 18 and 15."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.durable_mode import DurableMode
from tests.conformance.observed import Case
from tests.conformance.table import hold, load_cases
from tests.postgres import new_database

MODES = {
    "durable-one-worker": ("postgres_server", 1),
    "durable-three-workers": ("postgres_server", 3),
    "durable-postgresql-15": ("postgres15_server", 1),
}


@pytest.fixture(scope="module", params=MODES)
def mode(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DurableMode]:
    server, workers = MODES[request.param]
    home: Path = tmp_path_factory.mktemp("home")
    with new_database(request.getfixturevalue(server)) as url:
        opened = DurableMode(request.param, url, workers, home)
        yield opened
        opened.close()


@pytest.mark.parametrize("case", load_cases(), ids=lambda case: case.name)
def test_a_workflow_ends_as_the_table_says(case: Case, mode: DurableMode) -> None:
    if case.modes and not mode.name.startswith(case.modes):
        pytest.skip(f"this row is about {', '.join(case.modes)}")
    hold(case, mode)
