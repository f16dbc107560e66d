"""The conformance table in LOCAL mode: every row, on every store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from highway_core.persistence.file_storage import FilePersistenceManager
from highway_core.persistence.in_memory import InMemoryPersistenceManager
from highway_core.persistence.manager import PersistenceManager
from highway_core.persistence.sql_persistence import SQLPersistenceManager
from tests.conformance.local_mode import LocalMode
from tests.conformance.observed import Case
from tests.conformance.table import hold, load_cases

STORES = ("local-memory", "local-sqlite", "local-files", "local-postgresql")


@pytest.fixture(scope="module", params=STORES)
def mode(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalMode]:
    folder: Path = tmp_path_factory.mktemp("stores")
    stores: dict[str, Callable[[], PersistenceManager]] = {
        "local-memory": InMemoryPersistenceManager,
        "local-sqlite": lambda: SQLPersistenceManager(db_path=str(folder / "runs.sqlite3")),
        "local-files": lambda: FilePersistenceManager(folder / "runs"),
        "local-postgresql": lambda: SQLPersistenceManager(engine_url=request.getfixturevalue("postgres_server")),
    }
    opened = LocalMode(request.param, stores[request.param])
    yield opened
    opened.close()


@pytest.mark.parametrize("case", load_cases(), ids=lambda case: case.name)
def test_a_workflow_ends_as_the_table_says(case: Case, mode: LocalMode) -> None:
    if case.modes and not mode.name.startswith(case.modes):
        pytest.skip(f"this row is about {', '.join(case.modes)}")
    hold(case, mode)


def test_the_table_has_at_least_120_workflows() -> None:
    assert len(load_cases()) >= 120
