"""LOCAL mode for the conformance table, on each of its stores."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from highway_core.config import Settings
from highway_core.engine.engine import run_workflow
from highway_core.lifecycle import TaskStatus
from highway_core.persistence.manager import PersistenceManager
from highway_core.utils.json_values import dumps, loads
from tests.conformance.observed import TOOLS, Case, Observed

ENVIRON = {"HIGHWAY_SECRET_TOKEN": "s3cret", "CITY": "Oslo"}


@contextmanager
def _folder_of(definitions: Sequence[Mapping[str, Any]]) -> Iterator[Path]:
    """A folder with a file for each definition; the name of a file says nothing."""
    with TemporaryDirectory() as folder:
        for number, definition in enumerate(definitions):
            (Path(folder) / f"{number}.json").write_text(dumps(definition), encoding="utf-8")
        yield Path(folder)


class LocalMode:
    """Runs in this process; what is observed is what the store holds afterwards."""

    def __init__(self, name: str, open_store: Callable[[], PersistenceManager]) -> None:
        self.name = name
        self._store = open_store()

    def run(self, case: Case) -> Observed:
        run_id = str(uuid.uuid4())
        with _folder_of(case.definitions) as folder:
            settings = Settings(tools_dir=TOOLS, environ=ENVIRON, env_allowed=("CITY",), workflows_dir=folder)
            run_workflow(case.document, run_id, inputs=case.inputs, persistence_manager=self._store, settings=settings)
        return self._observed(run_id)

    def _observed(self, run_id: str) -> Observed:
        saved = self._store.load_run(run_id)
        assert saved is not None
        state, _ = self._store.load_workflow_state(run_id)
        assert state is not None
        return Observed(
            status=saved.status.value,
            error=saved.error_message,
            result=None if saved.result_json is None else loads(saved.result_json),
            tasks={path: row.status.value for path, row in saved.tasks.items()},
            results=state.results,
            values={
                path: loads(row.result_json or "null")
                for path, row in saved.tasks.items()
                if row.status is TaskStatus.COMPLETED
            },
            reasons={path: row.error_message for path, row in saved.tasks.items()},
            attempts={path: row.attempt for path, row in saved.tasks.items()},
            memory=saved.memory,
            variables=saved.variables,
        )

    def close(self) -> None:
        self._store.close()
