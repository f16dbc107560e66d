"""A loop with one commit a step and no engine around it: claim, do, and in one statement complete and enqueue the next.

    python bare_loop.py setup | worker | client

It knows chains and one fan-out and nothing else: no retries, no leases, no timers, no events, no history.
"""

from __future__ import annotations

import json
import os
import select
import sys
from typing import Any

import psycopg2
from serve import DATABASE, SUBMIT_AT_ONCE, System, serve, step_result

TABLES = """
CREATE TABLE run (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, width int, open int, done timestamptz);
CREATE INDEX ON run (id) WHERE done IS NULL;
CREATE TABLE step (run bigint, no int, result text, done timestamptz DEFAULT clock_timestamp(), PRIMARY KEY (run, no));
CREATE TABLE queue (run bigint, no int, kind text, steps int, owner int, PRIMARY KEY (run, no));
CREATE INDEX ON queue (run, no) WHERE owner IS NULL;
"""
CLAIM = """
UPDATE queue SET owner = %s WHERE (run, no) IN (
    SELECT run, no FROM queue WHERE owner IS NULL ORDER BY run, no LIMIT 10 FOR UPDATE SKIP LOCKED)
RETURNING run, no, kind, steps
"""
_COMPLETE = """
WITH gone AS (DELETE FROM queue WHERE run = %(run)s AND no = %(no)s AND owner = %(me)s RETURNING run, no, steps),
     saved AS (INSERT INTO step (run, no, result) SELECT run, no, %(result)s FROM gone)
"""
NEXT = _COMPLETE + "INSERT INTO queue SELECT run, no + 1, 'chain', steps, %(me)s FROM gone"
LAST = _COMPLETE + "UPDATE run SET done = clock_timestamp() FROM gone WHERE id = gone.run"
SPREAD = _COMPLETE + "INSERT INTO queue SELECT run, n, 'branch', steps FROM gone, generate_series(1, steps) AS n"
BRANCH = _COMPLETE + "UPDATE run SET open = open - 1 FROM gone WHERE id = gone.run RETURNING open, width"
JOIN = "INSERT INTO queue VALUES (%s, %s, 'chain', 0, %s)"
SUBMIT = """
WITH new AS (INSERT INTO run (width, open) VALUES (%s, %s) RETURNING id)
INSERT INTO queue SELECT id, 0, %s, %s FROM new
"""


def connect() -> Any:
    connection = psycopg2.connect(DATABASE)
    connection.autocommit = True
    return connection


def setup() -> None:
    connect().cursor().execute(TABLES)


def work() -> None:
    connection, me = connect(), os.getpid()
    cursor = connection.cursor()
    cursor.execute("LISTEN work")
    while True:
        cursor.execute(CLAIM, (me,))
        claimed = cursor.fetchall()
        for run, no, kind, steps in claimed:
            perform(cursor, me, run, no, kind, steps)
        if not claimed:
            select.select([connection], [], [], 0.25)
            connection.poll()
            connection.notifies.clear()


def perform(cursor: Any, me: int, run: int, no: int, kind: str, steps: int) -> None:
    """One step, and of a chain all that come after it."""
    values = {"run": run, "no": no, "me": me, "result": json.dumps(step_result(no))}
    if kind == "fan_out":
        cursor.execute(SPREAD, values)
        cursor.execute("NOTIFY work")
    elif kind == "branch":
        cursor.execute("BEGIN")
        cursor.execute(BRANCH, values)
        left, width = cursor.fetchone()
        if not left:
            cursor.execute(JOIN, (run, width + 1, me))
        cursor.execute("COMMIT")
        if not left:
            perform(cursor, me, run, width + 1, "chain", 0)
    elif no + 1 < steps:
        cursor.execute(NEXT, values)
        perform(cursor, me, run, no + 1, kind, steps)
    else:
        cursor.execute(LAST, values)
        cursor.execute("SELECT pg_notify('done', %s)", (str(run),))


class Client(System):
    def __init__(self) -> None:
        self._connection = connect()
        self._cursor = self._connection.cursor()
        self._cursor.execute("LISTEN done")

    def submit_chains(self, runs: int, steps: int) -> None:
        for first in range(0, runs, SUBMIT_AT_ONCE):
            self._cursor.execute("BEGIN")
            for _ in range(first, min(runs, first + SUBMIT_AT_ONCE)):
                self._cursor.execute(SUBMIT, (0, 0, "chain", steps))
            self._cursor.execute("NOTIFY work")
            self._cursor.execute("COMMIT")

    def submit_fan_out(self, width: int) -> None:
        self._cursor.execute(SUBMIT, (width, width, "fan_out", width))
        self._cursor.execute("NOTIFY work")

    def run_one(self) -> None:
        self.submit_chains(1, 1)
        while self.open_runs():
            select.select([self._connection], [], [], 1)
            self._connection.poll()
            self._connection.notifies.clear()

    def open_runs(self) -> int:
        self._connection.notifies.clear()
        return self._number("SELECT count(*) FROM run WHERE done IS NULL")

    def steps_done(self) -> int:
        return self._number("SELECT count(*) FROM step")

    def submit_sleeps(self, runs: int, seconds: float) -> None:
        raise NotImplementedError

    asleep = first_due = lateness = submit_sleeps  # type: ignore[assignment]

    def _number(self, query: str) -> Any:
        self._cursor.execute(query)
        return self._cursor.fetchone()[0]


if __name__ == "__main__":
    {"setup": setup, "worker": work, "client": lambda: serve(Client())}[sys.argv[1]]()
