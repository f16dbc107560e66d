"""The functions of DURABLE mode called as a worker calls them, without an engine; and rows put there by hand."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from highway_core.lifecycle import QueueKind, TaskStatus
from highway_core.persistence.durable_connection import DurableConnection, as_json
from tests.waiting import eventually

NOW = 1_700_000_000.0
HASH = "h" * 64
PARTS = ("consume", "drop", "new", "tasks", "queue", "log", "rare")

_T = TypeVar("_T")


class Sql:
    """One connection, and the functions over it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.connection = DurableConnection(url)
        self.fetch, self.value, self.run = self.connection.fetch, self.connection.value, self.connection.run

    def close(self) -> None:
        self.connection.close()

    def submit(self, *rows: dict[str, Any]) -> list[dict[str, Any]]:
        documents = [{"hash": HASH, "name": "hello", "doc": "{}"}]
        answer = self.value("SELECT highway_submit(%s, %s)", [json.dumps(documents), json.dumps(rows)])
        assert isinstance(answer, list)
        return answer

    def start(self, *runs: str, queue: str = "default") -> None:
        """Runs at version 0, whose first message has been dealt with."""
        self.submit(*(run_row(run, queue=queue) for run in runs))
        self.run("DELETE FROM task_queue WHERE kind = %s AND workflow_id = ANY (%s)", [QueueKind.START, list(runs)])

    def put(self, run: str, task: str, kind: str = QueueKind.WORK, **columns: Any) -> None:
        """A queue row of a run, claimable unless ``columns`` say otherwise; ``*_in`` are seconds from now."""
        values = {"status": TaskStatus.QUEUED.value} | columns
        names = ["workflow_id", "task_id", "kind"]
        places = ["%s", "%s", "%s"]
        for name in values:
            moment = name.endswith("_in")
            names.append(name.removesuffix("_in") if moment else name)
            places.append("clock_timestamp() + %s * interval '1 second'" if moment else "%s")
        self.run(
            f"INSERT INTO task_queue ({', '.join(names)}) VALUES ({', '.join(places)})",
            [run, task, str(kind), *values.values()],
        )

    def claim(
        self, slots: int = 10, messages: int = 10, *, worker: str = "w", lease: float = 30.0, queues: Iterable[str] = ()
    ) -> list[dict[str, Any]]:
        arguments = [worker, lease, list(queues) or ["default"], slots, messages]
        claims = self.value("SELECT highway_claim(%s, %s, %s, %s, %s)", arguments)["claims"]
        assert isinstance(claims, list)
        return claims

    def commit(self, *runs: dict[str, Any], worker: str = "w", lease: float = 30.0, **parts: Any) -> list[str]:
        """The runs that were refused."""
        assert set(parts) <= set(PARTS)
        versions = {run["r"]: run["v"] + 1 for run in runs}
        for part in ("new", "tasks"):
            if part in parts:
                parts[part] = [{"v": versions[row["r"]], **row} for row in parts[part]]
        answer = self.value(
            "SELECT highway_commit(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            [worker, lease, json.dumps(runs), *(as_json(parts.get(part)) for part in PARTS)],
        )
        assert isinstance(answer, list)
        return answer

    def load(self, *known: tuple[str, int], lock: bool = False) -> dict[str, Any]:
        pairs = [{"r": run, "v": version} for run, version in known]
        answer = self.value("SELECT highway_load(%s, %s, %s)", [json.dumps(pairs), lock, 1000])
        assert isinstance(answer, dict)
        return answer

    def rows(self, table: str, *columns: str) -> list[tuple[Any, ...]]:
        """All rows, in the order of their columns."""
        order = ", ".join(str(number + 1) for number in range(len(columns)))
        return self.fetch(f"SELECT {', '.join(columns)} FROM {table} ORDER BY {order}")


def run_row(run: str, **values: Any) -> dict[str, Any]:
    return {"id": run, "name": "hello", "hash": HASH, "vars": "{}", "inp": "{}", "prio": 0, "ph": "payload"} | values


def step(run: str, version: int, seq: int, **values: Any) -> dict[str, Any]:
    """What a transition says of its run."""
    return {"r": run, "v": version, "n": seq, "f": False} | values


def task_row(run: str, task: str, status: TaskStatus, **values: Any) -> dict[str, Any]:
    row = {"r": run, "t": task, "sc": "", "nd": 0, "op": "task", "de": "[]", "od": 1, "cr": NOW, "a": 0, "f": 0}
    return row | {"st": status.value} | values


def queue_row(run: str, task: str, kind: str = QueueKind.WORK, **values: Any) -> dict[str, Any]:
    row = {"r": run, "t": task, "k": str(kind), "st": TaskStatus.QUEUED.value, "q": "default", "p": 0, "f": 0, "a": 0}
    return row | values


def held(claimed: dict[str, Any]) -> dict[str, Any]:
    """A claim, as a commit names what it uses up."""
    return {name: claimed[name] for name in ("r", "t", "k", "f")}


def log_row(run: str, seq: int, kind: str, task: str = "") -> dict[str, Any]:
    return {"r": run, "n": seq, "at": NOW, "k": kind, "t": task}


def while_in_transaction(holder: Sql, first: Callable[[Sql], object], second: Callable[[Sql], _T]) -> _T:
    """``second``, over another connection, begun when ``first`` is done and not committed; it is, once that waits."""
    with holder.connection.transaction():
        first(holder)
        other = begin(holder.url, second)
        assert eventually(lambda: waits(holder.url) or not other.is_alive())
    answer: _T = other.answer()
    return answer


class Begun(threading.Thread):
    """A call in a thread and over a connection of its own."""

    def __init__(self, url: str, call: Callable[[Sql], Any]) -> None:
        super().__init__()
        self._url = url
        self._call = call
        self._answers: list[Any] = []

    def run(self) -> None:
        self._answers = at_once(self._url, [self._call])

    def answer(self) -> Any:
        self.join(timeout=30)
        return self._answers[0]


def begin(url: str, call: Callable[[Sql], Any]) -> Begun:
    begun = Begun(url, call)
    begun.start()
    return begun


def waits(url: str) -> bool:
    """Whether anything in the database waits for a lock. Not asked inside a transaction, which would see one moment."""
    observer = Sql(url)
    try:
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return bool(observer.value(waiting))
    finally:
        observer.close()


def at_once(url: str, calls: Iterable[Callable[[Sql], _T]]) -> list[_T]:
    """Each call in a thread and over a connection of its own, all begun together; their answers in order."""
    pending = list(calls)
    barrier = threading.Barrier(len(pending))
    answers: list[Any] = [None] * len(pending)

    def carry_out(number: int, call: Callable[[Sql], _T]) -> None:
        sql = Sql(url)
        try:
            sql.value("SELECT 1")
            barrier.wait()
            answers[number] = call(sql)
        except BaseException as error:
            answers[number] = error
        finally:
            sql.close()

    threads = [threading.Thread(target=carry_out, args=pair) for pair in enumerate(pending)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return answers
