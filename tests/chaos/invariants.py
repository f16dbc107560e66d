"""What must hold after every experiment, asked of the database: I1 to I12 of the reliability rules.

Each check is a statement that finds what breaks the invariant. The effects, and what callers were told, come in as
tables of their own. What waits for ever on purpose (a paused run) is not part of any experiment, so everything must be
over. That each check can fail is held by ``tests/integration/test_chaos_invariants.py``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.chaos.cluster import Cluster
from tests.chaos.ledger import Effect

_TERMINAL = "('task.completed', 'task.failed', 'task.cancelled', 'task.skipped', 'task.upstream_failed')"
_RUN_TERMINAL = "('run.completed', 'run.failed', 'run.cancelled')"

CHECKS = {
    "I1 a start that was acknowledged is there": """
        SELECT id FROM acknowledged WHERE NOT EXISTS (SELECT 1 FROM workflows w WHERE w.workflow_id = id)""",
    "I1 it is what was asked for, and found under its key": """
        SELECT a.id, a.key, w.inputs_json, k.workflow_id FROM acknowledged a JOIN workflows w ON w.workflow_id = a.id
          LEFT JOIN idempotency_keys k ON k.key = 'key:' || a.key
         WHERE a.key IS NOT NULL AND (w.inputs_json::json ->> 'marker' IS DISTINCT FROM a.key
            OR k.workflow_id IS DISTINCT FROM a.id)""",
    "I2 every run is over": """
        SELECT workflow_id, status FROM workflows WHERE status NOT IN ('completed', 'failed', 'cancelled')""",
    "I2 no task is being carried out": """
        SELECT workflow_id, task_id, status FROM tasks WHERE node IS NOT NULL AND status NOT IN
            ('completed', 'failed', 'cancelled', 'skipped', 'upstream_failed')""",
    "I2 a completed run has decided about each of its tasks": """
        SELECT w.workflow_id, d.name FROM workflows w JOIN workflow_definitions f USING (definition_hash)
         CROSS JOIN LATERAL json_object_keys(f.definition_json::json -> 'tasks') AS d(name)
         WHERE w.status = 'completed' AND NOT EXISTS (SELECT 1 FROM tasks t WHERE t.workflow_id = w.workflow_id
               AND t.task_id = d.name AND t.node IS NOT NULL)""",
    "I2 a completed loop has carried out its body for each item": """
        SELECT w.workflow_id, d.name, f.definition_json FROM workflows w
          JOIN workflow_definitions f USING (definition_hash)
         CROSS JOIN LATERAL json_each(f.definition_json::json -> 'tasks') AS d(name, task)
          JOIN tasks t ON t.workflow_id = w.workflow_id AND t.task_id = d.name AND t.status = 'completed'
         WHERE d.task ->> 'operator_type' = 'foreach' AND json_typeof(d.task -> 'items') = 'array'
           AND json_array_length(d.task -> 'items') * json_array_length(d.task -> 'loop_body') <> (SELECT count(*)
               FROM tasks body WHERE body.workflow_id = w.workflow_id AND starts_with(body.scope, d.name || '[')
                AND body.node IS NOT NULL AND body.status = 'completed')""",
    "I3 a task ends once": f"""
        SELECT workflow_id, task_id, count(*) FROM event_log WHERE kind IN {_TERMINAL} GROUP BY 1, 2
        HAVING count(*) > 1""",
    "I3 a run ends once": f"""
        SELECT w.workflow_id, count(e.seq) FROM workflows w LEFT JOIN event_log e
            ON e.workflow_id = w.workflow_id AND e.kind IN {_RUN_TERMINAL} GROUP BY 1 HAVING count(e.seq) <> 1""",
    "I3 the log has no gap and no repetition": """
        SELECT w.workflow_id, w.log_seq, count(e.seq), max(e.seq) FROM workflows w LEFT JOIN event_log e
            ON e.workflow_id = w.workflow_id GROUP BY 1, 2
        HAVING count(e.seq) <> w.log_seq OR max(e.seq) IS DISTINCT FROM w.log_seq""",
    "I3 nothing happens after the end": f"""
        SELECT e.workflow_id, e.task_id, e.kind FROM event_log e JOIN event_log o ON o.workflow_id = e.workflow_id
           AND o.kind IN {_RUN_TERMINAL} AND e.seq > o.seq""",
    "I3 the log says of every task and run what its row says": f"""
        SELECT t.workflow_id, t.task_id, t.status, e.kind FROM tasks t LEFT JOIN event_log e
            ON e.workflow_id = t.workflow_id AND e.task_id = t.task_id AND e.kind IN {_TERMINAL}
         WHERE t.node IS NOT NULL AND e.kind IS DISTINCT FROM 'task.' || t.status
        UNION ALL SELECT w.workflow_id, '', w.status, e.kind FROM workflows w JOIN event_log e
            ON e.workflow_id = w.workflow_id AND e.kind IN {_RUN_TERMINAL} WHERE e.kind <> 'run.' || w.status""",
    # What stands in the branches of an operator begins when it has opened them.
    "I4 nothing begins before what it depends on has ended": f"""
        SELECT t.workflow_id, t.task_id, d.name FROM tasks t
         CROSS JOIN LATERAL json_array_elements_text(coalesce(t.dependencies_json, '[]')::json) AS d(name)
          JOIN event_log mine ON mine.workflow_id = t.workflow_id AND mine.task_id = t.task_id
               AND mine.kind = 'task.running'
          LEFT JOIN event_log its ON its.workflow_id = t.workflow_id AND its.task_id = t.scope || d.name
               AND its.kind IN {_TERMINAL}
         WHERE t.node IS NOT NULL AND (its.seq IS NULL OR its.seq > mine.seq)
           AND NOT EXISTS (SELECT 1 FROM tasks o WHERE o.workflow_id = t.workflow_id AND o.task_id = t.scope || d.name
                AND o.operator_type IN ('parallel', 'multi_choice'))""",
    # The log is written with the outcome; the effect says when it really was. One machine, clocks of some milliseconds.
    "I4 nothing has its effect before what it depends on has ended": """
        SELECT t.workflow_id, t.task_id, d.name, l.at, its.completed_at FROM ledger l
          JOIN tasks t ON t.workflow_id = l.run AND t.task_id = l.task
         CROSS JOIN LATERAL json_array_elements_text(coalesce(t.dependencies_json, '[]')::json) AS d(name)
          JOIN tasks its ON its.workflow_id = t.workflow_id AND its.task_id = t.scope || d.name
         WHERE t.node IS NOT NULL AND its.operator_type NOT IN ('parallel', 'multi_choice')
           AND (its.completed_at IS NULL OR extract(epoch FROM its.completed_at) > l.at + 0.05)""",
    "I4 what was skipped never began": """
        SELECT t.workflow_id, t.task_id FROM tasks t LEFT JOIN event_log e ON e.workflow_id = t.workflow_id
               AND e.task_id = t.task_id AND e.kind = 'task.running'
          LEFT JOIN ledger l ON l.run = t.workflow_id AND l.task = t.task_id
         WHERE t.status IN ('skipped', 'upstream_failed') AND (e.seq IS NOT NULL OR l.run IS NOT NULL)""",
    "I5 what is completed has had its effect": """
        SELECT t.workflow_id, t.task_id FROM tasks t WHERE t.function LIKE 'chaos.%%' AND t.status = 'completed'
           AND NOT EXISTS (SELECT 1 FROM ledger l WHERE l.run = t.workflow_id AND l.task = t.task_id)""",
    "I5 what has had an effect is known": """
        SELECT l.run, l.task FROM ledger l WHERE NOT EXISTS (SELECT 1 FROM tasks t
         WHERE t.workflow_id = l.run AND t.task_id = l.task AND t.function LIKE 'chaos.%%')""",
    "I5 an attempt has its effect once": """
        SELECT run, task, attempt, count(*) FROM ledger GROUP BY 1, 2, 3 HAVING count(*) > 1 + %(spared)s""",
    "I5 as many effects as attempts, at most": """
        SELECT t.workflow_id, t.task_id, t.attempt, count(*) FROM tasks t JOIN ledger l
            ON l.run = t.workflow_id AND l.task = t.task_id GROUP BY 1, 2, 3
        HAVING count(*) > t.attempt + %(spared)s""",
    "I6 attempts are counted up": """
        SELECT * FROM (SELECT workflow_id, task_id, attempt, lag(attempt) OVER (PARTITION BY workflow_id, task_id
                ORDER BY seq) AS before FROM event_log WHERE kind = 'task.running' AND attempt > 0) AS begun
         WHERE attempt < before""",
    "I6 the answer that counts is of the last attempt": """
        SELECT t.workflow_id, t.task_id, t.result_value_json, l.attempt, t.attempt FROM tasks t
          JOIN ledger l ON l.run = t.workflow_id AND l.task = t.task_id AND to_json(l.nonce)::text = t.result_value_json
         WHERE t.status = 'completed' AND l.attempt <> t.attempt""",
    "I7 memory is the sum of what was added": """
        SELECT t.workflow_id, count(*), m.memory_value_json FROM tasks t
          LEFT JOIN workflow_memory m ON m.workflow_id = t.workflow_id AND m.memory_key = 'total'
         WHERE t.function = 'tools.memory.increment' AND t.status = 'completed'
         GROUP BY t.workflow_id, m.memory_value_json HAVING count(*)::text IS DISTINCT FROM m.memory_value_json""",
    "I8 the queue holds nothing of runs that are over": """
        SELECT q.workflow_id, q.task_id, q.kind, q.status FROM task_queue q""",
    "I8 nobody sits in a transaction": """
        SELECT pid, application_name, state FROM pg_stat_activity WHERE datname = current_database()
           AND state LIKE 'idle in transaction%%' AND state_change < clock_timestamp() - interval '5 seconds'""",
    "I8 nothing had to be repaired": """
        SELECT name, value FROM counters WHERE name = 'queue_rows_repaired' AND value > 0""",
    # Workers know the database's clock to some milliseconds.
    "I9 no timer fires before its time": """
        SELECT workflow_id, task_id, wake_up_at, completed_at FROM tasks WHERE operator_type = 'wait'
           AND status = 'completed' AND completed_at < wake_up_at - interval '50 ms'""",
    "I10 an approval has one decision, and its task has the same": """
        SELECT a.workflow_id, a.task_id, a.status, a.decision, t.result_value_json FROM approvals a
          JOIN tasks t USING (workflow_id, task_id)
         WHERE a.status = 'PENDING'
            OR (a.status = 'DECIDED') IS DISTINCT FROM (a.decided_at IS NOT NULL AND a.decided_by IS NOT NULL)
            OR (a.status = 'DECIDED' AND t.status = 'completed'
                AND t.result_value_json::json ->> 'status' IS DISTINCT FROM a.decision)
            OR (a.status = 'EXPIRED' AND t.status = 'completed'
                AND t.result_value_json::json ->> 'status' IS DISTINCT FROM 'TIMEOUT')
            OR (a.status = 'DECIDED' AND t.status <> 'completed' AND NOT EXISTS (SELECT 1 FROM workflows w
                WHERE w.workflow_id = a.workflow_id AND w.status = 'cancelled'))""",
    "I10 a decision that was acknowledged stands": """
        SELECT d.key, d.decision, a.status, a.decision FROM decided d LEFT JOIN approvals a ON a.approval_id = d.key
         WHERE a.decision IS DISTINCT FROM d.decision""",
    "I11 what a task has seen is what was recorded": """
        SELECT l.run, l.task, s.key, s.value, t.result_value_json FROM ledger l
         CROSS JOIN LATERAL json_each(l.seen) AS s JOIN tasks own ON own.workflow_id = l.run AND own.task_id = l.task
          JOIN tasks t ON t.workflow_id = l.run AND t.task_id = own.scope || s.key
         WHERE t.result_value_json::jsonb IS DISTINCT FROM s.value::jsonb""",
    "I12 a final status that was told is final": """
        SELECT told.id, told.status, w.status FROM told LEFT JOIN workflows w ON w.workflow_id = told.id
         WHERE told.status IN ('completed', 'failed', 'cancelled') AND told.status IS DISTINCT FROM w.status""",
}


@dataclass(frozen=True)
class Said:
    """What callers were told. ``acknowledged`` are runs, with the key under which each was started if it had one;
    ``told`` statuses of runs; ``decided`` decisions by approval."""

    acknowledged: Mapping[str, str | None] = field(default_factory=dict)
    told: Iterable[tuple[str, str]] = ()
    decided: Mapping[str, str] = field(default_factory=dict)


def broken(
    cluster: Cluster,
    acknowledged: Iterable[str] = (),
    told: Iterable[tuple[str, str]] = (),
    *,
    testimony: Said | None = None,
    spared: int = 0,
    but: Iterable[str] = (),
) -> dict[str, list[tuple[Any, ...]]]:
    """The invariants that do not hold, with up to ten rows that show it.

    ``testimony``: in place of ``acknowledged`` and ``told``, where more is known. ``spared`` is how many attempts of a
    task may have been begun that do not count, because their worker was asked to stop; ``but`` are the beginnings of
    the names of checks to leave out.
    """
    said = testimony or Said(dict.fromkeys(acknowledged), told)
    connection = cluster.connect()
    try:
        with connection.cursor() as cursor:
            take_down(cursor, cluster.ledger.effects(), said)
            return examine(cursor, spared=spared, but=tuple(but))
    finally:
        connection.close()


def take_down(cursor: Any, effects: Iterable[Effect], said: Said) -> None:
    """Put what the outside world knows where the checks look for it."""
    cursor.execute("CREATE TEMP TABLE ledger (run text, task text, attempt integer, nonce text, at float8, seen json)")
    cursor.execute("CREATE TEMP TABLE acknowledged (id text, key text)")
    cursor.execute("CREATE TEMP TABLE told (id text, status text)")
    cursor.execute("CREATE TEMP TABLE decided (key text, decision text)")
    rows = [asdict(one) | {"seen": one.seen or {}} for one in effects]
    cursor.execute("INSERT INTO ledger SELECT * FROM json_populate_recordset(null::ledger, %s)", [json.dumps(rows)])
    pairs = (("acknowledged", said.acknowledged.items()), ("told", {*said.told}), ("decided", said.decided.items()))
    for table, both in pairs:
        columns = [list(one) for one in zip(*both, strict=True)] or [[], []]
        cursor.execute(f"INSERT INTO {table} SELECT * FROM unnest(%s::text[], %s::text[])", columns)
    cursor.execute("CREATE INDEX ON ledger (run, task)")
    cursor.execute("ANALYZE ledger")


def examine(cursor: Any, *, spared: int = 0, but: tuple[str, ...] = ()) -> dict[str, list[tuple[Any, ...]]]:
    """What does not hold."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    for name, statement in CHECKS.items():
        if but and name.startswith(but):
            continue
        cursor.execute(statement, {"spared": spared})
        rows = cursor.fetchmany(10)
        if rows:
            found[name] = rows
    return found


def all_hold(cluster: Cluster, **how: Any) -> None:
    """AssertionError with what does not hold, and with what the services said."""
    found = broken(cluster, **how)
    assert not found, "\n".join([*(f"{name}: {rows}" for name, rows in found.items()), cluster.services.logs()])
