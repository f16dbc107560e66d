"""The effects that tasks have had, as ``tests/data/tools/chaos_tools.py`` writes them down."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Effect:
    """One execution of a task's body, up to its effect."""

    run: str
    task: str
    attempt: int
    nonce: str
    seen: Any
    pid: int
    at: float
    """Seconds since 1970 on the clock of this machine."""


class Ledger:
    """What stands in the file."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "ledger"

    def effects(self, run: str | None = None, task: str | None = None) -> list[Effect]:
        """In the order in which they happened."""
        if not self._path.exists():
            return []
        lines = self._path.read_text(encoding="utf-8").splitlines()
        found = [Effect(**json.loads(line)) for line in lines]
        return [one for one in found if run in {None, one.run} and task in {None, one.task}]

    def count(self, run: str | None = None, task: str | None = None) -> int:
        return len(self.effects(run, task))
