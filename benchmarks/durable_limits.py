"""What this PostgreSQL can store at most: a task completed and the next one enqueued, over and over, and nothing else.

    python durable_limits.py single|batch SECONDS        # one process of the psycopg2 loop; prints transitions a second

``single`` is one transition a commit in one round trip, ``batch`` is 100 of them a commit, set-based. ``pgbench`` does
the same without Python (``pgbench_rates``), also in the five round trips of a program that puts nothing together.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psycopg2

CLIENTS = 8
"""Of pgbench: enough that some of them wait for the disk while others work."""
BATCH = 100

TABLES = """
CREATE TABLE limit_task (run int, no int, status text, result text, done timestamptz, PRIMARY KEY (run, no))
    WITH (fillfactor = 80);
CREATE TABLE limit_queue (run int, no int, status text, queued timestamptz DEFAULT clock_timestamp(),
    PRIMARY KEY (run, no)) WITH (fillfactor = 70);
CREATE INDEX ON limit_queue (queued) WHERE status = 'QUEUED';
"""
FILL = """
INSERT INTO limit_task SELECT n, 0, 'running' FROM generate_series(0, 1999) AS n;
INSERT INTO limit_queue SELECT n, 0, 'QUEUED' FROM generate_series(0, 1999) AS n
"""


def _fill_in(statement: str, run: str, number: str) -> str:
    return statement.replace("@run", run).replace("@no", number)


_RESULT = '{"step": 1, "ok": true, "text": "thirty-two characters of a result"}'
_COMPLETE = f"UPDATE limit_task SET status = 'completed', result = '{_RESULT}', done = clock_timestamp()"

FIVE_TRIPS = f"""
\\set next :no + 1
BEGIN;
{_COMPLETE} WHERE run = :client_id AND no = :no;
DELETE FROM limit_queue WHERE run = :client_id AND no = :no;
WITH new AS (INSERT INTO limit_task VALUES (:client_id, :next, 'running'))
    INSERT INTO limit_queue VALUES (:client_id, :next, 'QUEUED');
COMMIT;
\\set no :next
"""
_ONE = f"""
WITH gone AS (DELETE FROM limit_queue WHERE run = @run AND no = @no RETURNING run, no),
     old AS ({_COMPLETE} FROM gone WHERE limit_task.run = gone.run AND limit_task.no = gone.no),
     new AS (INSERT INTO limit_task SELECT run, no + 1, 'running' FROM gone)
INSERT INTO limit_queue SELECT run, no + 1, 'QUEUED' FROM gone;
"""
ONE_TRIP = _fill_in(_ONE, ":client_id", ":no") + "\n\\set no :no + 1\n"
MANY = f"""
WITH gone AS (DELETE FROM limit_queue WHERE run >= @run AND run < @run + {BATCH} AND no = @no RETURNING run, no),
     old AS ({_COMPLETE} FROM gone WHERE limit_task.run = gone.run AND limit_task.no = gone.no),
     new AS (INSERT INTO limit_task SELECT run, no + 1, 'running' FROM gone)
INSERT INTO limit_queue SELECT run, no + 1, 'QUEUED' FROM gone;
"""
MANY_A_COMMIT = f"\\set run :client_id * {BATCH}\n" + _fill_in(MANY, ":run", ":no") + "\n\\set no :no + 1\n"


def pgbench_rates(programs: Path, url: str, seconds: int) -> dict[str, float]:
    """Transitions a second."""
    scripts = {
        "pgbench, one a commit, five round trips": (FIVE_TRIPS, 1),
        "pgbench, one a commit, one round trip": (ONE_TRIP, 1),
        f"pgbench, {BATCH} a commit": (MANY_A_COMMIT, BATCH),
    }
    found = {}
    for name, (script, transitions) in scripts.items():
        _fill(url)
        with tempfile.NamedTemporaryFile("w", suffix=".sql") as file:
            file.write(script)
            file.flush()
            clients = CLIENTS if transitions == 1 else 2
            options = ["-n", "-M", "prepared", "-c", str(clients), "-j", "2", "-T", str(seconds), "-D", "no=0"]
            done = subprocess.run(
                [str(programs / "pgbench"), *options, "-f", file.name, url], capture_output=True, text=True, check=False
            )
        match = re.search(r"tps = ([\d.]+)", done.stdout)
        if done.returncode or match is None:
            raise SystemExit(f"pgbench failed\n{done.stderr[-2000:]}")
        found[name] = float(match[1]) * transitions
    return found


def psycopg2_rates(url: str, seconds: int, processes: int) -> dict[str, float]:
    """Transitions a second of so many processes together."""
    found = {}
    for how, name in (("single", "psycopg2, one a commit"), ("batch", f"psycopg2, {BATCH} a commit")):
        _fill(url)
        command = [sys.executable, __file__, how, str(seconds)]
        running = [
            subprocess.Popen(
                command,
                env={**os.environ, "BENCH_DATABASE_URL": url, "BENCH_NUMBER": str(number)},
                stdout=subprocess.PIPE,
                text=True,
            )
            for number in range(processes)
        ]
        found[name] = sum(float(one.communicate()[0]) for one in running)
    return found


def _fill(url: str) -> None:
    connection = psycopg2.connect(url)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS limit_task, limit_queue")
        cursor.execute(TABLES)
        cursor.execute(FILL)
    connection.close()


def loop(how: str, seconds: float) -> float:
    """One process's transitions a second."""
    connection = psycopg2.connect(os.environ["BENCH_DATABASE_URL"])
    connection.autocommit = True
    number = int(os.environ["BENCH_NUMBER"])
    statement, each = (_ONE, 1) if how == "single" else (MANY, BATCH)
    done = 0
    with connection.cursor() as cursor:
        cursor.execute("PREPARE step (int, int) AS " + _fill_in(statement, "$1", "$2"))
        begin = time.perf_counter()
        while time.perf_counter() - begin < seconds:
            cursor.execute("EXECUTE step (%s, %s)", (number * each, done))
            done += 1
        return done * each / (time.perf_counter() - begin)


if __name__ == "__main__":
    print(loop(sys.argv[1], float(sys.argv[2])))
