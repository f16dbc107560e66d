"""What who follows a run sees of its child runs: their tasks in the order in which they ended, and their failures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import pytest

from highway_core.cli import durable_follow
from highway_core.cli.durable_clients.client import DurableClient
from highway_core.cli.durable_follow import FollowedRun
from highway_core.cli.progress import RunView, TaskLine
from highway_core.lifecycle import TaskStatus


class Told:
    """A client with runs that are over: their histories, as ``(second, task, status)``, and who their parents are."""

    def __init__(self, histories: dict[str, list[tuple[int, str, str]]], parents: dict[str, str]) -> None:
        self._histories = histories
        self._parents = parents
        self.lists = 0

    def status(self, run_id: str, *, tasks: int = 1_000, wait: float | None = None) -> dict[str, Any]:
        ended = {task: status for _, task, status in self._histories[run_id] if task}
        summary: dict[str, int] = {}
        for status in ended.values():
            summary[status] = summary.get(status, 0) + 1
        return {"workflow_status": "completed", "summary": summary, "tasks": []}

    def history(self, run_id: str, after: int = 0) -> Iterator[dict[str, Any]]:
        for seq, (second, task, status) in enumerate(self._histories[run_id][after:], after + 1):
            kind = f"task.{status}" if task else f"run.{status}"
            at = f"2026-01-01T00:00:{second:02}+00:00"
            yield {"seq": seq, "at": at, "kind": kind, "task_id": task, "attempt": 1, "detail": None}

    def runs(self, limit: int, **filters: str | None) -> list[dict[str, Any]]:
        self.lists += 1
        found = [run for run, parent in self._parents.items() if parent == filters["parent"]]
        return [{"workflow_id": run} for run in found[:limit]]


class Seen:
    """Keeps what a display is told."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, TaskStatus, bool]] = []

    def task_changed(self, line: TaskLine) -> None:
        self.lines.append((line.label, line.status, line.own))

    def showing(self, _log: RunView) -> AbstractContextManager[None]:
        return nullcontext()


HISTORIES = {
    "r": [(1, "", "running"), (2, "call", "WAITING_FOR_CHILDREN"), (9, "call", "completed"), (9, "", "completed")],
    "r/call/x": [(3, "a", "completed"), (4, "deep", "WAITING_FOR_CHILDREN"), (7, "deep", "failed"), (8, "", "failed")],
    "r/call/x/deep/y": [(5, "b", "failed"), (4, "c", "skipped"), (6, "", "failed")],
}
PARENTS = {"r/call/x": "r", "r/call/x/deep/y": "r/call/x"}


def follow(client: Told) -> tuple[FollowedRun, Seen]:
    seen = Seen()
    followed = FollowedRun(cast(DurableClient, client), "r")
    followed.follow(seen)
    return followed, seen


def test_tasks_of_child_runs_are_shown_in_the_order_in_which_they_ended() -> None:
    followed, seen = follow(Told(HISTORIES, PARENTS))
    assert [line for line in seen.lines if line[1] is not TaskStatus.WAITING_FOR_CHILDREN] == [
        ("call/x/a", TaskStatus.COMPLETED, False),
        ("call/x/deep/y/b", TaskStatus.FAILED, False),
        ("call/x/deep/y/c", TaskStatus.SKIPPED, False),
        ("call/x/deep", TaskStatus.FAILED, False),
        ("call", TaskStatus.COMPLETED, True),
    ]
    assert followed.counts == {TaskStatus.COMPLETED: 1}, "of the run itself"
    assert [line.label for line in followed.unsuccessful] == ["call/x/deep/y/b", "call/x/deep"]
    assert followed.open == {}


def test_child_runs_are_asked_for_only_where_there_may_be_some() -> None:
    client = Told({"r": [(1, "a", "completed"), (2, "", "completed")]}, {})
    follow(client)
    assert client.lists == 0


def test_only_so_many_runs_are_followed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durable_follow, "_MOST_RUNS", 3)
    children = {f"r/call/{number}": [(3, "a", "running")] for number in range(9)}
    _, seen = follow(Told({"r": HISTORIES["r"], **children}, dict.fromkeys(children, "r")))
    assert len({label for label, _, own in seen.lines if not own}) == 2
