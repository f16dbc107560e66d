"""The transitions of durable runs: claimed, committed and read back, each in one round trip.

The functions that do it are in ``statements/durable_functions.sql``. One store is used by one thread; several runs may
be in one commit, and a run that another process has moved on in the meantime does not keep the others from theirs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from highway_core.persistence.durable_connection import DurableConnection, as_json
from highway_core.persistence.limit_store import Limited
from highway_core.persistence.statements import limits
from highway_core.persistence.statements import transitions as sql

Row = dict[str, Any]

FENCES = 1_000
"""How many fences may be given out between two entries of a run's log, or two versions of it: claims that come to
nothing give some out. So what begins anew begins above whatever is still on its way from before."""
INLINE_BYTES = 4096
"""A result up to this length comes with its task's row."""
SECTIONS = ("consume", "drop", "new", "tasks", "queue", "log")


Lease = tuple[str, str, str, int]
"""Run, task, kind, fence: a row of the queue that is claimed."""


class Claim(NamedTuple):
    """Something to do for a run, taken under a lease."""

    run_id: str
    path: str
    kind: str
    fence: int
    attempt: int
    lease_losses: int
    version: int
    """Of the run, when it was claimed."""
    payload: str | None
    event: str | None
    """The payload of the event that the task waits for, if there is one, as JSON."""
    run: Row | None = None
    """Of the message that begins a run: its row, as :meth:`TransitionStore.load` has it. Nothing else is stored yet."""

    @property
    def lease(self) -> Lease:
        return (self.run_id, self.path, self.kind, self.fence)


class Wish(NamedTuple):
    """What is to be claimed together with a commit."""

    queues: Sequence[str]
    messages: int


@dataclass(frozen=True, slots=True)
class Loaded:
    """Runs as they are stored: rows by run id."""

    runs: Mapping[str, Row]
    tasks: Mapping[str, list[Row]]
    memory: Mapping[str, list[Row]]
    children: Mapping[str, list[Row]]


class Written(NamedTuple):
    """What one run has to have written."""

    own: Row
    sections: Mapping[str, list[Row]]
    rare: Mapping[str, list[Row]]


class TransitionStore:
    """Every method raises StorageError; ConnectionLostError where it may have been carried out all the same."""

    def __init__(self, connection: DurableConnection, worker: str, lease_seconds: float) -> None:
        self._connection = connection
        self._worker = worker
        self._lease = lease_seconds
        self.again: float | None = None
        """In how many seconds a rate will let more work through, if that is what held some back at the last claim."""

    def commit(
        self, runs: Sequence[Written], wish: Wish | None = None, slots: int = 0
    ) -> tuple[set[str], list[Claim] | None]:
        """Write all of it; the ids of the runs that were left alone because they are not as the commit took them.

        With a ``wish``, claim in the same transaction, work for ``slots`` threads; None if nothing was wished for.
        """
        sections: dict[str, list[Row]] = {name: [] for name in SECTIONS}
        rare: dict[str, list[Row]] = {}
        for one in runs:
            for name in SECTIONS:
                sections[name] += one.sections[name]
            for name, rows in one.rare.items():
                rare.setdefault(name, []).extend(rows)
        values = (
            self._worker,
            self._lease,
            as_json([one.own for one in runs]),
            *(as_json(sections[name]) for name in SECTIONS[:-1]),
            json.dumps(sections["log"]),
            as_json(rare),
        )
        if wish is None:
            return set(self._connection.value(sql.COMMIT, values) or ()), None
        claim = (self._worker, self._lease, list(wish.queues), slots, wish.messages)
        ((refused, rows),) = self._connection.fetch(sql.COMMIT_AND_CLAIM, (*values, *claim))
        return set(refused or ()), self._claimed(rows)

    def claim(self, queues: Sequence[str], slots: int, messages: int) -> list[Claim]:
        """Take up to ``messages`` messages, and work for ``slots`` threads."""
        return self._claimed(
            self._connection.value(sql.CLAIM, (self._worker, self._lease, list(queues), slots, messages))
        )

    def _claimed(self, answer: Row) -> list[Claim]:
        self.again = answer["again"]
        return _claims(answer["claims"])

    def limited(self) -> Limited:
        """What has a limit, which only claims keep to."""
        return Limited.of(self._connection.fetch(limits.NAMES))

    def adopt(self, held: Sequence[tuple[str, str, str, int]]) -> list[Claim]:
        """Everything that is claimed for this worker and not ``held`` (run, task, kind, fence): the answer in which it
        was given to us got lost. It is claimed anew, so that whoever might have it after all comes too late."""
        return _claims(self._connection.value(sql.ADOPT, (self._worker, self._lease, _leases(held))))

    def load(self, known: Mapping[str, int], *, lock: bool) -> Loaded:
        """The rows of runs that changed after the version that is known of each (-1: all); ``lock``: and keep it so."""
        rows = [{"r": run_id, "v": version} for run_id, version in known.items()]
        found = self._connection.value(sql.LOAD, (json.dumps(rows), lock, INLINE_BYTES))
        return Loaded(
            {row["r"]: row for row in found["runs"] or ()},
            _by_run(found["tasks"]),
            _by_run(found["memory"]),
            _by_run(found["children"]),
        )

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Several of these calls as one."""
        with self._connection.transaction():
            yield

    def submit(self, documents: Sequence[Row], rows: Sequence[Row]) -> dict[str, Row]:
        """Create runs; by the id that was asked for: {id, created, same, status}."""
        answers = self._connection.value(sql.SUBMIT, (as_json(documents), json.dumps(rows)))
        return {answer["asked"]: answer for answer in answers}

    def held(self, leases: Sequence[Lease]) -> set[Lease]:
        """Those that have not been lost."""
        return {tuple(row) for row in self._connection.fetch(sql.HELD, (_leases(leases),))}

    def renew(self, held: Sequence[tuple[str, str, str, int]]) -> set[tuple[str, str, str]]:
        """Prolong leases (run, task, kind, fence); those that are still ours."""
        rows = self._connection.fetch(sql.RENEW, (_leases(held), self._lease))
        kept = {(row[0], row[1], row[2]) for row in rows}
        passed_over = [lease for lease in held if lease[:3] not in kept]
        if passed_over:  # what a commit has locked is ours as far as anybody knows, and is renewed the next time
            kept |= {(run, path, kind) for run, path, kind, _ in self.held(passed_over)}
        return kept

    def give_back(self, held: Sequence[tuple[str, str, str, int]]) -> None:
        """Let others have what was claimed and not begun, or not finished in time; the attempt is not counted."""
        self._connection.run(sql.GIVE_BACK, (_leases(held),))

    def release(self, held: Sequence[tuple[str, str, str, int]]) -> None:
        """Let others have what was begun and given up; the attempt counts."""
        if held:
            self._connection.run(sql.RELEASE, (_leases(held),))

    def postpone(self, held: Sequence[tuple[str, str, str, int]], seconds: float) -> None:
        """Give back work that nobody is to claim for so long; the attempt is not counted."""
        self._connection.run(sql.POSTPONE, (_leases(held), seconds))

    def excuse(self, lost: Sequence[tuple[str, str, str, int]]) -> None:
        """These leases were lost because the database could not be reached, which is no fault of what they are for."""
        if lost:
            self._connection.run(sql.EXCUSE, (_leases(lost),))

    def definition(self, definition_hash: str) -> str | None:
        """A document, as canonical JSON."""
        found: str | None = self._connection.value(sql.DEFINITION, (definition_hash,))
        return found

    def newest_definition(self, workflow_name: str) -> str | None:
        """The hash of the document of that name that was stored last."""
        found: str | None = self._connection.value(sql.NEWEST_DEFINITION, (workflow_name,))
        return found

    def keep_definition(self, definition_hash: str, workflow_name: str, text: str) -> None:
        """Store a document, unless it is there."""
        self._connection.run(sql.KEEP_DEFINITION, (definition_hash, workflow_name, text))

    def has_open_children(self, run_id: str, path: str, before: str, after: str) -> bool:
        """True if a child run of the task is not over, its id being its branch between ``before`` and ``after``."""
        return bool(self._connection.value(sql.HAS_OPEN_CHILDREN, (run_id, path, before, after)))

    def children(self, run_id: str, path: str) -> list[Row]:
        """The child runs of a task: {c: run id, b: branch, s: status, e: error, o: result as JSON}."""
        rows = self._connection.fetch(sql.CHILDREN, (run_id, path))
        return [dict(zip(("c", "b", "s", "e", "o"), row, strict=True)) for row in rows]

    def approval(self, run_id: str, path: str, fence: int) -> Row | None:
        """The approval that a task waits for: {id, status, decision, by, at (epoch), comment}."""
        rows = self._connection.fetch(sql.APPROVAL, (run_id, path, fence))
        names = ("id", "status", "decision", "by", "at", "comment")
        return dict(zip(names, rows[0], strict=True)) if rows else None

    def take_key(self, key: str, run_id: str, path: str) -> tuple[str | None, bool]:
        """What is left under an idempotency key, and whether the task holds it now."""
        self._connection.run(sql.TAKE_KEY, (key, run_id, path))
        found = self._connection.fetch(sql.LEFT_UNDER_KEY, (key,))
        if not found:
            return None, False  # its holder has just let it go
        left, holder, task, at_work = found[0]
        if (holder, task) == (run_id, path):
            return left, True
        if left is None and not at_work:
            return None, self._connection.run(sql.INHERIT_KEY, (run_id, path, key, holder, task)) == 1
        return left, False

    def reopen(self, run_id: str, by: str) -> str | None:
        """Make a failed or cancelled run go on; the status that it had, None if there is no such run."""
        found: str | None = self._connection.value(sql.REOPEN, (run_id, by))
        return found

    def emit(self, name: str, payload_json: str, by: str) -> int:
        """Store an event that came from outside; how many tasks it wakes."""
        return int(self._connection.value(sql.EMIT, (name, payload_json, by)))

    def count(self, name: str, amount: int = 1) -> None:
        """Add to one of the numbers that operators look at."""
        self._connection.run(sql.COUNT, (name, amount))

    def now(self) -> float:
        """The database's clock, in seconds since 1970."""
        return float(self._connection.value(sql.NOW))

    def notify(self, channel: str, payload: str = "") -> None:
        """A hint to whoever listens; never inside a transaction that changes something."""
        self._connection.run(sql.NOTIFY, (channel, payload))


def _leases(held: Sequence[tuple[str, str, str, int]]) -> str:
    return json.dumps([{"r": run, "t": path, "k": kind, "f": fence} for run, path, kind, fence in held])


def read_result(connection: DurableConnection, run_id: str, path: str) -> str:
    """The result of a task, as JSON text."""
    text: str | None = connection.value(sql.RESULT, (run_id, path))
    return text or "null"


def _claims(rows: list[Row] | None) -> list[Claim]:
    return [_claim(row) for row in rows or ()]


def _claim(row: Row) -> Claim:
    more = (row.get("pl"), row.get("evp"), row.get("run"))
    return Claim(row["r"], row["t"], row["k"], row["f"], row["a"], row["ll"], row["v"], *more)


def _by_run(rows: list[Row] | None) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows or ():
        found.setdefault(row["r"], []).append(row)
    return found
