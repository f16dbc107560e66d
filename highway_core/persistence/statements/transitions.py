"""The statements of the transition store. What is long is a function in ``durable_functions.sql``."""

from __future__ import annotations

from typing import Final

from highway_core.persistence.statements.durable_functions import with_statuses

COMMIT: Final = f"SELECT highway_commit(%s, %s, {', '.join(['%s::json'] * 8)})"
CLAIM: Final = """
    SELECT highway_claim(%s, %s, %s::text[], %s, %s) FROM set_config('synchronous_commit', 'off', true)"""
"""A claim of messages by itself need not wait for the disk: what a crash of the server takes back is claimed again, and
what came of it was not committed either. Work is begun on the strength of its claim, so that is waited for
(``highway_claim``)."""
ADOPT: Final = "SELECT highway_adopt(%s, %s, %s::json)"
COMMIT_AND_CLAIM: Final = f"{COMMIT}, highway_claim(%s, %s, %s::text[], %s, %s)"
LOAD: Final = "SELECT highway_load(%s::json, %s, %s)"
SUBMIT: Final = "SELECT highway_submit(%s::json, %s::json)"

RENEW: Final = with_statuses("""
    WITH free AS MATERIALIZED (
        SELECT q.workflow_id, q.task_id, q.kind
          FROM json_to_recordset(%s::json) AS x(r text, t text, k text, f bigint)
          JOIN task_queue q ON q.workflow_id = x.r AND q.task_id = x.t AND q.kind = x.k AND q.fence = x.f
         WHERE q.status = @RUNNING@ FOR UPDATE OF q SKIP LOCKED)
    UPDATE task_queue q SET lease_until = clock_timestamp() + %s * interval '1 second'
      FROM free WHERE q.workflow_id = free.workflow_id AND q.task_id = free.task_id AND q.kind = free.kind
    RETURNING q.workflow_id, q.task_id, q.kind""")
"""Never waits for a commit, which locks these rows in an order of its own."""

HELD: Final = with_statuses("""
    SELECT q.workflow_id, q.task_id, q.kind, q.fence
      FROM json_to_recordset(%s::json) AS x(r text, t text, k text, f bigint)
      JOIN task_queue q ON q.workflow_id = x.r AND q.task_id = x.t AND q.kind = x.k AND q.fence = x.f
     WHERE q.status = @RUNNING@""")

_GIVEN: Final = """
    WITH given AS MATERIALIZED (SELECT * FROM json_to_recordset(%s::json) AS x(r text, t text, k text, f bigint)),
    runs AS MATERIALIZED (
        SELECT w.workflow_id FROM workflows w WHERE w.workflow_id IN (SELECT r FROM given)
         ORDER BY w.workflow_id FOR NO KEY UPDATE)"""
"""Leases that were given, and the locks of their runs: held by whoever commits something about them, so that nobody
waits in a ring. ``count(*)`` takes all of them before the first row of the queue."""

GIVE_BACK: Final = with_statuses(f"""{_GIVEN},
    back AS (
    UPDATE task_queue q
       SET status = @QUEUED@, lease_until = NULL, worker_id = NULL,
           attempt = CASE WHEN q.kind = @KIND_WORK@ THEN greatest(q.attempt - 1, 0) ELSE q.attempt END
      FROM given x
     WHERE q.workflow_id = x.r AND q.task_id = x.t AND q.kind = x.k AND q.fence = x.f
       AND q.status = @RUNNING@ AND (SELECT count(*) FROM runs) > 0
    RETURNING q.workflow_id, q.task_id, q.kind, q.attempt)
    UPDATE tasks t SET status = @QUEUED@, attempt = back.attempt, worker_id = NULL, updated_at = clock_timestamp()
      FROM back
     WHERE t.workflow_id = back.workflow_id AND t.task_id = back.task_id AND back.kind = @KIND_WORK@
       AND t.status = @RUNNING@""")  # noqa: S608 - put together from this page alone
"""The fence stays: it grows with the next claim."""

RELEASE: Final = with_statuses(f"""{_GIVEN}
    UPDATE task_queue q SET status = @QUEUED@, lease_until = NULL, worker_id = NULL
      FROM given x
     WHERE q.workflow_id = x.r AND q.task_id = x.t AND q.kind = x.k AND q.fence = x.f
       AND q.status = @RUNNING@ AND (SELECT count(*) FROM runs) > 0""")  # noqa: S608 - put together from this page alone

POSTPONE: Final = with_statuses(f"""{_GIVEN}
    UPDATE task_queue q
       SET status = @WAITING_FOR_TIMER@, due_at = clock_timestamp() + %s * interval '1 second', lease_until = NULL,
           worker_id = NULL, attempt = greatest(q.attempt - 1, 0)
      FROM given x
     WHERE q.workflow_id = x.r AND q.task_id = x.t AND q.kind = x.k AND q.fence = x.f
       AND q.status = @RUNNING@ AND (SELECT count(*) FROM runs) > 0""")  # noqa: S608 - put together from this page alone

EXCUSE: Final = with_statuses(f"""{_GIVEN}
    UPDATE task_queue q SET lease_losses = q.lease_losses - 1
      FROM given x
     WHERE q.workflow_id = x.r AND q.task_id = x.t AND q.kind = x.k AND q.lease_losses > 0
       AND (q.fence > x.f OR q.status <> @RUNNING@) AND (SELECT count(*) FROM runs) > 0""")  # noqa: S608 - put together from this page alone
"""Of leases that are ours still, nothing has been lost."""

REOPEN: Final = "SELECT highway_reopen(%s, %s)"
EMIT: Final = "SELECT highway_emit(%s, %s, %s)"
RESULT: Final = "SELECT result_value_json FROM tasks WHERE workflow_id = %s AND task_id = %s"
DEFINITION: Final = "SELECT definition_json FROM workflow_definitions WHERE definition_hash = %s"
NEWEST_DEFINITION: Final = """
    SELECT definition_hash FROM workflow_definitions WHERE workflow_name = %s ORDER BY created_at DESC LIMIT 1"""
KEEP_DEFINITION: Final = """
    INSERT INTO workflow_definitions (definition_hash, workflow_name, definition_json, created_at)
    VALUES (%s, %s, %s, clock_timestamp()) ON CONFLICT DO NOTHING"""
HAS_OPEN_CHILDREN: Final = """
    SELECT EXISTS (SELECT 1 FROM workflows WHERE parent_workflow_id = %s AND parent_task_id = %s AND end_time IS NULL
                      AND workflow_id = %s || parent_branch || %s)"""
CHILDREN: Final = """
    SELECT workflow_id, parent_branch, status, error_message, result_json FROM workflows
     WHERE parent_workflow_id = %s AND parent_task_id = %s"""
APPROVAL: Final = """
    SELECT approval_id, status, decision, decided_by, extract(epoch FROM decided_at)::double precision, comment
      FROM approvals
     WHERE workflow_id = %s AND task_id = %s AND fence = %s"""
TAKE_KEY: Final = """
    INSERT INTO idempotent_results (idempotency_key, workflow_id, task_id, created_at)
    VALUES (%s, %s, %s, clock_timestamp()) ON CONFLICT DO NOTHING"""
LEFT_UNDER_KEY: Final = """
    SELECT i.result_json, i.workflow_id, i.task_id,
           EXISTS (SELECT 1 FROM workflows w WHERE w.workflow_id = i.workflow_id AND w.end_time IS NULL)
           AND NOT EXISTS (SELECT 1 FROM tasks t WHERE t.workflow_id = i.workflow_id AND t.task_id = i.task_id
                              AND t.completed_at IS NOT NULL AND t.node IS NOT NULL)
      FROM idempotent_results i WHERE i.idempotency_key = %s"""
"""A task that has just begun, in a transaction that is not committed, has no row yet and is at work all the same."""
INHERIT_KEY: Final = """
    UPDATE idempotent_results SET workflow_id = %s, task_id = %s, created_at = clock_timestamp()
     WHERE idempotency_key = %s AND result_json IS NULL AND workflow_id = %s AND task_id = %s"""
"""From a task that has ended without a word: it was given up before its run had heard that it held the key."""
COUNT: Final = """
    INSERT INTO counters AS old (name, value) VALUES (%s, %s)
    ON CONFLICT ON CONSTRAINT pk_counters DO UPDATE SET value = old.value + excluded.value"""
NOW: Final = "SELECT extract(epoch FROM clock_timestamp())"
NOTIFY: Final = "SELECT pg_notify(%s, %s)"
