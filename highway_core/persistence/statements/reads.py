"""Statements that read runs for people and clients. None takes a lock."""

from __future__ import annotations

from collections.abc import Collection

_RUN = """
SELECT w.workflow_id, w.workflow_name, w.mode, w.status, w.start_time, w.end_time, w.updated_at, w.error_message,
       w.result_json, w.definition_hash, w.parent_workflow_id, w.parent_task_id, w.created_by, w.queue,
       coalesce(w.priority, 0), w.schedule_id, w.slot, w.tags_json
  FROM workflows w
"""

SELECT_RUN = _RUN + " WHERE w.workflow_id = %s"

SELECT_VALUES = "SELECT inputs_json, variables_json FROM workflows WHERE workflow_id = %s"

SELECT_DEFINITION = "SELECT definition_json FROM workflow_definitions WHERE definition_hash = %s"

SELECT_NEWEST_DEFINITION = """
SELECT definition_hash, definition_json FROM workflow_definitions
 WHERE workflow_name = %s ORDER BY created_at DESC, definition_hash LIMIT 1
"""

_TASK = """
SELECT task_id, operator_type, status, attempt, created_at, started_at, completed_at, error_message, wake_up_at,
       result_key, function, worker_id
  FROM tasks
"""

SELECT_TASKS = _TASK + " WHERE workflow_id = %s ORDER BY created_at, ordinal, task_id LIMIT %s OFFSET %s"

SELECT_TASK = _TASK + " WHERE workflow_id = %s AND task_id = %s"

SELECT_TASK_RESULT = "SELECT result_value_json FROM tasks WHERE workflow_id = %s AND task_id = %s"

COUNT_TASKS = "SELECT status, count(*) FROM tasks WHERE workflow_id = %s GROUP BY status"

SELECT_OUTER_TASK_IDS = "SELECT task_id FROM tasks WHERE workflow_id = %s AND scope = ''"

SELECT_OPEN_TASKS = _TASK + " WHERE workflow_id = %s AND completed_at IS NULL ORDER BY started_at, created_at LIMIT %s"

SELECT_STATUSES = "SELECT workflow_id, status FROM workflows WHERE workflow_id = ANY (%s)"

SELECT_HISTORY = """
SELECT seq, at, kind, task_id, from_task, attempt, worker_id, detail
  FROM event_log WHERE workflow_id = %s AND seq > %s ORDER BY seq LIMIT %s
"""

SELECT_BACKLOG = """
SELECT coalesce(extract(epoch FROM clock_timestamp() - (
           SELECT min(created_at) FROM task_queue WHERE status = %s)), 0)::float8,
       (SELECT count(*) FROM workers WHERE service = 'worker'
          AND seen_at > clock_timestamp() - %s * interval '1 second')
"""

_LISTED = _RUN + " WHERE w.mode = %s"
_ORDER = " ORDER BY w.start_time DESC, w.workflow_id LIMIT %s"


_FILTERS = {
    "status": " AND w.status = %s",
    "name": " AND w.workflow_name = %s",
    "since": " AND w.start_time >= %s",
    "parent": " AND w.parent_workflow_id = %s",
    "tag": " AND w.tags_json::jsonb ? %s",
}
# Written like this the first part is a condition of the index.
_AFTER = " AND w.start_time <= %s AND (w.start_time < %s OR w.workflow_id > %s)"


def select_runs(filters: Collection[str] = (), *, after: bool = False) -> str:
    """The newest runs of a mode. Values: the mode; of the filters (status, name, since, parent, tag) those that are
    given, in this order; three of ``after``; the number of rows."""
    conditions = (condition for name, condition in _FILTERS.items() if name in filters)
    return "".join((_LISTED, *conditions, _AFTER if after else "", _ORDER))
