"""What the Scheduler asks of the database: the next due moment, rows that got lost, and runs old enough to go.

Statuses are parameters; psycopg2 writes them into the text, so that the partial indexes fit. Ages are seconds or days
on the database's clock: statement_timestamp() and not clock_timestamp(), which no index can be asked about because it
changes from row to row.
"""

from __future__ import annotations

from highway_core.persistence.statements.durable_functions import with_statuses

# Seconds until the first of: a timer, the end of a lease, a slot to come; and whether a slot is overdue.
# %s: the statuses of waiting rows, the status of claimed rows
LOOK = """
SELECT extract(epoch FROM (SELECT min(due_at) FROM task_queue WHERE due_at IS NOT NULL AND status = ANY (%s))
                          - statement_timestamp()),
       extract(epoch FROM (SELECT min(lease_until) FROM task_queue WHERE status = %s) - statement_timestamp()),
       extract(epoch FROM (SELECT min(next_slot) FROM schedules WHERE NOT paused AND next_slot > statement_timestamp())
                          - statement_timestamp()),
       (SELECT min(next_slot) FROM schedules WHERE NOT paused) <= statement_timestamp() IS TRUE
"""

# Not waited for until they are on disk: what a crash takes back is due again, and what somebody did because of them is
# later in the log and cannot be on disk without them. For this transaction only, whoever uses the session next.
WAKE = "SELECT highway_wake(%s), set_config('synchronous_commit', 'off', true)"
RESCUE = "SELECT highway_rescue(%s), set_config('synchronous_commit', 'off', true)"

# Channels that listeners hear; the payload is empty: "look".
NOTIFY = "SELECT pg_notify(%s, '')"

# What a task that waits should have in the queue and has not: the row of its moment, its event, its approval or its
# timeouts, or the word that its child runs are over. All of it follows from the task's own row. No row that somebody
# may still hold has the fence of one that is put back: fences grow with the run's version (``FENCES``).
_MISSING = """
SELECT t.task_id, m.kind, m.status, m.due_at, m.event_name, t.fence
  FROM tasks t, LATERAL (
      SELECT CASE WHEN t.error_message IS NOT NULL THEN @KIND_RETRY@ WHEN t.attempt = 0 THEN @KIND_KEY@
                  WHEN t.operator_type = 'wait' THEN @KIND_WAKE@ ELSE @KIND_KEY@ END AS kind,
             ARRAY[@KIND_WAKE@, @KIND_RETRY@, @KIND_KEY@] AS instead, @WAITING_FOR_TIMER@ AS status,
             coalesce(t.wake_up_at, clock_timestamp()) AS due_at, NULL AS event_name
       WHERE t.status = @WAITING_FOR_TIMER@
      UNION ALL
      SELECT @KIND_EVENT@, ARRAY[@KIND_EVENT@], @WAITING_FOR_EVENT@, t.wake_up_at, named.event
        FROM (SELECT t.progress_json::json #>> '{{progress,event}}' AS event
               WHERE t.operator_type = 'wait_for_event') AS named
       WHERE t.status = @WAITING_FOR_EVENT@ AND named.event IS NOT NULL
      UNION ALL
      SELECT @KIND_APPROVAL@, ARRAY[@KIND_APPROVAL@],
             CASE a.status WHEN @APPROVAL_DECIDED@ THEN @QUEUED@ ELSE @WAITING_FOR_EVENT@ END,
             CASE a.status WHEN @APPROVAL_DECIDED@ THEN NULL ELSE a.expires_at END, NULL
        FROM approvals a
       WHERE t.status = @WAITING_FOR_EVENT@ AND a.workflow_id = t.workflow_id AND a.task_id = t.task_id
         AND a.fence = t.fence
      UNION ALL
      SELECT held.key, ARRAY[held.key], @WAITING_FOR_TIMER@, to_timestamp(held.value::double precision), NULL
        FROM json_each_text(CASE WHEN position('"timeouts"' IN t.progress_json) > 0
                                 THEN t.progress_json::json -> 'timeouts' END) AS held
      UNION ALL
      SELECT @KIND_CHILD@, ARRAY[@KIND_CHILD@, @KIND_WORK@], @QUEUED@, NULL, NULL
       WHERE t.status = @WAITING_FOR_CHILDREN@
         AND (SELECT bool_and(c.end_time IS NOT NULL) FROM workflows c
               WHERE c.parent_workflow_id = t.workflow_id AND c.parent_task_id = t.task_id)) AS m
 WHERE t.workflow_id = {run} AND t.completed_at IS NULL AND t.node IS NOT NULL
   AND (t.status || '') IN (@WAITING_FOR_TIMER@, @WAITING_FOR_EVENT@, @WAITING_FOR_CHILDREN@)
   AND t.updated_at < statement_timestamp() - {age} * interval '1 second'
   AND (SELECT true FROM task_queue q WHERE q.workflow_id = t.workflow_id AND q.task_id = t.task_id
           AND split_part(q.kind, ':', 1) = ANY (m.instead) LIMIT 1) IS NULL
"""

# The next open runs after one, and which of them have lost something: tasks that should be worked on and that stand in
# no queue, what a task waits for, the deadline, or everything that would ever move them on. A look without locks: what
# it finds is looked at again under the lock of the run. The questions about a run are LIMITed, and no index of all open
# tasks seems to fit (status || ''), so that they are asked run by run and never of whole tables.
# %s: the statuses of runs that go on, of tasks that are worked on, of tasks that wait, the least age of what is lost,
# the mode, the run after which to go on, how many
LOST = with_statuses(f"""
SELECT max(r.id), count(*), array_agg(r.id) FILTER (WHERE r.goes_on AND (
           (SELECT true FROM tasks t
             WHERE t.workflow_id = r.id AND t.completed_at IS NULL AND (t.status || '') = ANY (s.at_work)
               AND t.node IS NOT NULL AND t.updated_at < statement_timestamp() - s.age * interval '1 second'
               AND (SELECT true FROM task_queue q
                     WHERE q.workflow_id = t.workflow_id AND q.task_id = t.task_id LIMIT 1) IS NULL
             LIMIT 1)
           OR (SELECT true FROM ({_MISSING.format(run="r.id", age="s.age")}) AS missing LIMIT 1)
           OR (r.updated_at < statement_timestamp() - s.age * interval '1 second'
               AND (r.has_deadline AND (SELECT true FROM task_queue q WHERE q.workflow_id = r.id AND q.task_id = ''
                                           AND q.kind IN (@KIND_DEADLINE@, @KIND_START@) LIMIT 1) IS NULL
                    OR (SELECT true FROM task_queue q WHERE q.workflow_id = r.id AND q.kind <> @KIND_DEADLINE@ LIMIT 1)
                       IS NULL
                    AND (SELECT true FROM tasks t
                          WHERE t.workflow_id = r.id AND t.completed_at IS NULL AND (t.status || '') = ANY (s.waits)
                          LIMIT 1) IS NULL))))
  FROM (SELECT %s::text[] AS going, %s::text[] AS at_work, %s::text[] AS waits, %s::double precision AS age) AS s,
       LATERAL (SELECT w.workflow_id AS id, w.updated_at, w.status = ANY (s.going) AS goes_on,
                       w.timeout_seconds IS NOT NULL AND w.status = @RUN_RUNNING@ AS has_deadline FROM workflows w
                 WHERE w.mode = %s AND w.end_time IS NULL AND w.workflow_id > %s
                 ORDER BY w.workflow_id LIMIT %s) AS r
""")  # noqa: S608 - put together from this page alone

# A run whose transition is being committed is passed over. %s: the run, the statuses it may have
LOCK_RUN = "SELECT 1 FROM workflows WHERE workflow_id = %s AND status = ANY (%s) FOR NO KEY UPDATE SKIP LOCKED"

# %s: kind, status, the run, the statuses of such tasks, their least age
REPAIR_WORK = """
INSERT INTO task_queue (workflow_id, task_id, kind, status, queue, priority, fence, attempt)
SELECT t.workflow_id, t.task_id, %s, %s, w.queue, coalesce(w.priority, 0), t.fence, t.attempt
  FROM tasks t JOIN workflows w ON w.workflow_id = t.workflow_id
 WHERE t.workflow_id = %s AND t.status = ANY (%s) AND t.completed_at IS NULL AND t.node IS NOT NULL
   AND t.updated_at < statement_timestamp() - %s * interval '1 second'
   AND NOT EXISTS (SELECT 1 FROM task_queue q WHERE q.workflow_id = t.workflow_id AND q.task_id = t.task_id)
ON CONFLICT DO NOTHING
"""

# %s: the fences of a version, the run, the least age
REPAIR_WAITS = with_statuses(f"""
INSERT INTO task_queue (workflow_id, task_id, kind, status, queue, priority, due_at, event_name, fence, payload_json)
SELECT w.workflow_id, missing.task_id, missing.kind, missing.status, w.queue, coalesce(w.priority, 0), missing.due_at,
       missing.event_name, %s * w.version, missing.fence::text
  FROM workflows w, LATERAL ({_MISSING.format(run="w.workflow_id", age="%s")}) AS missing
 WHERE w.workflow_id = %s
ON CONFLICT DO NOTHING
""")  # noqa: S608 - put together from this page alone

# %s: kind, status, the run, its least age, the statuses of tasks that wait
REPAIR_RUN = with_statuses("""
INSERT INTO task_queue (workflow_id, task_id, kind, status, queue, priority)
SELECT w.workflow_id, '', %s, %s, w.queue, coalesce(w.priority, 0) FROM workflows w
 WHERE w.workflow_id = %s AND w.updated_at < statement_timestamp() - %s * interval '1 second'
   AND NOT EXISTS (SELECT 1 FROM task_queue q WHERE q.workflow_id = w.workflow_id AND q.kind <> @KIND_DEADLINE@)
   AND NOT EXISTS (SELECT 1 FROM tasks t WHERE t.workflow_id = w.workflow_id AND t.completed_at IS NULL
                      AND t.status = ANY (%s))
ON CONFLICT DO NOTHING
""")

# A run that is to begin yet has none: its beginning sets it. %s: the fences of a version, the run, its least age
REPAIR_DEADLINE = with_statuses("""
INSERT INTO task_queue (workflow_id, task_id, kind, status, queue, priority, due_at, fence)
SELECT w.workflow_id, '', @KIND_DEADLINE@, @WAITING_FOR_TIMER@, w.queue, coalesce(w.priority, 0),
       w.start_time + w.timeout_seconds * interval '1 second', %s * w.version FROM workflows w
 WHERE w.workflow_id = %s AND w.timeout_seconds IS NOT NULL AND w.status = @RUN_RUNNING@
   AND w.updated_at < statement_timestamp() - %s * interval '1 second'
   AND NOT EXISTS (SELECT 1 FROM task_queue q WHERE q.workflow_id = w.workflow_id AND q.task_id = ''
                      AND q.kind = @KIND_START@)
ON CONFLICT DO NOTHING
""")

# Whoever has worked a transition out on the run as it was does so again: what it would put into the queue may have the
# fences of the rows that were put back. %s: the run
GROW = "UPDATE workflows SET version = version + 1 WHERE workflow_id = %s"

COUNT = """
INSERT INTO counters AS old (name, value) VALUES (%s, %s)
ON CONFLICT ON CONSTRAINT pk_counters DO UPDATE SET value = old.value + excluded.value
"""

# The next names that somebody waits for after one, and which of them have come.
# %s: the status of who waits, the name after which to go on, how many
UNDELIVERED = """
SELECT max(n.name), count(*), array_agg(DISTINCT n.name) FILTER (WHERE
           (SELECT true FROM events e WHERE e.name = n.name LIMIT 1))
  FROM (SELECT q.event_name AS name FROM task_queue q WHERE q.status = %s AND q.event_name > %s
         ORDER BY q.event_name LIMIT %s) AS n
"""
DELIVER = "SELECT highway_deliver(%s)"

# Ended runs of which nobody above or below is still open. start_time stands first because it has an index.
# %s: the mode, days, final statuses, days, open statuses, open statuses, how many
LOCK_OLD_RUNS = """
SELECT w.workflow_id FROM workflows w
 WHERE w.mode = %s AND w.start_time < statement_timestamp() - %s * interval '1 day'
   AND w.status = ANY (%s) AND w.end_time < statement_timestamp() - %s * interval '1 day'
   AND NOT EXISTS (SELECT 1 FROM workflows p WHERE p.workflow_id = w.parent_workflow_id AND p.status = ANY (%s))
   AND NOT EXISTS (SELECT 1 FROM workflows c WHERE c.parent_workflow_id = w.workflow_id AND c.status = ANY (%s))
 ORDER BY w.start_time LIMIT %s FOR UPDATE OF w SKIP LOCKED
"""

# Everything of a run that has no reference to it; what has one goes with the run itself.
DELETE_OF_RUNS = (
    "DELETE FROM event_log WHERE workflow_id = ANY (%s)",
    "DELETE FROM webhooks WHERE workflow_id = ANY (%s)",
    "DELETE FROM workflows WHERE workflow_id = ANY (%s)",
)

# An event may be waited for by a run that was open when it came, however long ago that was.
# %s: the mode, open statuses, days, how many
DELETE_EVENTS = """
DELETE FROM events WHERE id IN (
    SELECT e.id FROM events e, (SELECT coalesce(min(w.start_time), 'infinity') AS at FROM workflows w
                                 WHERE w.mode = %s AND w.status = ANY (%s)) AS oldest
     WHERE e.created_at < least(oldest.at, statement_timestamp() - %s * interval '1 day') ORDER BY e.id LIMIT %s)
"""

# A key outlives its run, so that a late repetition of a start is recognised. %s: days, how many
DELETE_KEYS = """
DELETE FROM idempotency_keys WHERE key IN (
    SELECT k.key FROM idempotency_keys k WHERE k.created_at < statement_timestamp() - %s * interval '1 day'
       AND NOT EXISTS (SELECT 1 FROM workflows w WHERE w.workflow_id = k.workflow_id) LIMIT %s)
"""

# %s: id, service, host, pid, queues, concurrency
SEEN = """
INSERT INTO workers (worker_id, service, host, pid, queues, concurrency) VALUES (%s, %s, %s, %s, %s, %s)
ON CONFLICT ON CONSTRAINT pk_workers DO UPDATE SET seen_at = clock_timestamp()
"""
# What a worker hears of it: the time (seconds since 1970), and how many threads other workers have for its queues.
# %s: as above, id, service, queues, the age in seconds at which a worker may be gone
WORKER_SEEN = f"""
WITH seen AS ({SEEN})
SELECT extract(epoch FROM clock_timestamp()), coalesce(sum(concurrency), 0) FROM workers
 WHERE worker_id <> %s AND service = %s AND string_to_array(queues, ',') && %s::text[]
   AND seen_at > statement_timestamp() - %s * interval '1 second'
"""  # noqa: S608 - put together from this page alone
GONE = "DELETE FROM workers WHERE worker_id = %s"
FORGET_DEAD = "DELETE FROM workers WHERE seen_at < statement_timestamp() - %s * interval '1 second'"
# %s: runs. Those that are over, or that are there no more.
OVER = """
SELECT one FROM unnest(%s::text[]) AS one
 WHERE NOT EXISTS (SELECT 1 FROM workflows w WHERE w.workflow_id = one AND w.end_time IS NULL)
"""
