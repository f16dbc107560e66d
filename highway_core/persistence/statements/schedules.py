"""The statements on ``schedules``. Open statuses of runs are a parameter (an array), moments are timestamptz."""

from __future__ import annotations

NOW = "SELECT clock_timestamp()"

# %s: an id, or NULL for all; the open statuses
SELECT = """
SELECT s.schedule_id, s.workflow_name, s.definition_hash, s.expression, s.timezone, s.inputs_json, s.start_date,
       s.catchup, s.paused, s.max_active_runs, s.next_slot, s.last_slot, s.created_at,
       (SELECT count(*) FROM workflows w WHERE w.schedule_id = s.schedule_id AND w.status = ANY (%s))
  FROM schedules s WHERE s.schedule_id = coalesce(%s, s.schedule_id) ORDER BY s.schedule_id
"""

# The row of a schedule that is still due when we have it; whoever else has it starts its slots.
LOCK_DUE = """
SELECT 1 FROM schedules WHERE schedule_id = %s AND NOT paused AND next_slot <= statement_timestamp()
   FOR UPDATE SKIP LOCKED
"""

DEFINE = """
INSERT INTO workflow_definitions (definition_hash, workflow_name, definition_json, created_at)
VALUES (%s, %s, %s, clock_timestamp()) ON CONFLICT DO NOTHING
"""

DEFINITION = "SELECT definition_json FROM workflow_definitions WHERE definition_hash = %s"

# A schedule that is registered again keeps whether it is paused, and when it was created.
PUT = """
INSERT INTO schedules (schedule_id, workflow_name, definition_hash, expression, timezone, inputs_json, start_date,
       catchup, paused, max_active_runs, next_slot, created_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT ON CONSTRAINT pk_schedules DO UPDATE
   SET workflow_name = excluded.workflow_name, definition_hash = excluded.definition_hash,
       expression = excluded.expression, timezone = excluded.timezone, inputs_json = excluded.inputs_json,
       start_date = excluded.start_date, catchup = excluded.catchup, max_active_runs = excluded.max_active_runs,
       next_slot = excluded.next_slot, updated_at = clock_timestamp()
"""

SET_PAUSED = "UPDATE schedules SET paused = %s, updated_at = clock_timestamp() WHERE schedule_id = %s"

REMOVE = "DELETE FROM schedules WHERE schedule_id = %s"

# What has a slot to start and room for a run, the longest due first. %s: the ids to leave out, open statuses, how many
DUE = """
SELECT s.schedule_id FROM schedules s
 WHERE NOT s.paused AND s.next_slot <= statement_timestamp() AND NOT s.schedule_id = ANY (%s)
   AND s.max_active_runs >
       (SELECT count(*) FROM workflows w WHERE w.schedule_id = s.schedule_id AND w.status = ANY (%s))
 ORDER BY s.next_slot LIMIT %s
"""

ADVANCE = """
UPDATE schedules SET next_slot = %s, last_slot = coalesce(%s, last_slot), updated_at = clock_timestamp()
 WHERE schedule_id = %s
"""

SUBMIT = "SELECT highway_submit(NULL, %s)"
