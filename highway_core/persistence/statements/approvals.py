"""The statements on ``approvals``: a person's decision, and the notification that asks for it.

Lock order as everywhere: the run's row first. The notification's statements lock nothing but the approval itself.
"""

from __future__ import annotations

from typing import Final

from highway_core.lifecycle import ApprovalStatus, QueueKind, TaskStatus

_FIND: Final = """
SELECT a.approval_id, a.workflow_id, w.workflow_name, w.definition_hash, w.status, a.task_id, a.status, a.prompt,
       a.assignee, a.choices_json, a.token_hash, a.created_at, a.expires_at, a.decision, a.decided_at, a.decided_by,
       a.decided_via, a.comment, coalesce(a.expires_at <= clock_timestamp(), false),
       EXISTS (SELECT 1 FROM approvals AS newer
                WHERE newer.workflow_id = a.workflow_id AND newer.task_id = a.task_id AND newer.fence > a.fence)
  FROM approvals AS a JOIN workflows AS w ON w.workflow_id = a.workflow_id
"""
"""Late and superseded are asked of the database, whose clock and rows decide."""

BY_ID: Final = _FIND + "WHERE a.approval_id = %s"
BY_TOKEN: Final = _FIND + "WHERE a.token_hash = %s"

OPEN: Final = (
    _FIND
    + f"""
 WHERE a.status = '{ApprovalStatus.PENDING}' AND (a.expires_at IS NULL OR a.expires_at > clock_timestamp())
   AND (%s IS NULL OR a.workflow_id = %s) AND (%s IS NULL OR a.assignee = %s)
   AND (%s IS NULL OR (a.created_at, a.approval_id) > (%s, %s))
 ORDER BY a.created_at, a.approval_id LIMIT %s
"""
)
"""run, run, assignee, assignee, moment, moment, approval (of the last one of the page before), limit."""

LOCK_RUN: Final = """
SELECT 1 FROM workflows
 WHERE workflow_id = (SELECT workflow_id FROM approvals WHERE approval_id = %s) FOR NO KEY UPDATE
"""

DECIDE: Final = f"""
UPDATE approvals
   SET status = '{ApprovalStatus.DECIDED}', decision = %s, decided_at = clock_timestamp(), decided_by = %s,
       decided_via = %s, comment = %s
 WHERE approval_id = %s AND status = '{ApprovalStatus.PENDING}'
   AND (expires_at IS NULL OR expires_at > clock_timestamp())
RETURNING decided_at
"""  # noqa: S608 - made of statuses

WAKE: Final = f"""
INSERT INTO task_queue AS q (workflow_id, task_id, kind, status, queue, priority, payload_json)
SELECT a.workflow_id, a.task_id, '{QueueKind.APPROVAL}',
       '{TaskStatus.QUEUED}', w.queue, coalesce(w.priority, 0), a.fence::text
  FROM approvals AS a JOIN workflows AS w ON w.workflow_id = a.workflow_id WHERE a.approval_id = %s
    ON CONFLICT ON CONSTRAINT pk_task_queue DO UPDATE
   SET status = excluded.status, created_at = clock_timestamp(), due_at = NULL, lease_until = NULL, worker_id = NULL
RETURNING q.queue
"""  # noqa: S608 - made of statuses
"""A row that a worker holds is taken from it: what that worker saw, it saw before the decision. Of a paused run too:
the decision completes the task, and what follows is held."""

NOTIFY: Final = "SELECT pg_notify(%s, %s)"

_UNSENT: Final = f"a.status = '{ApprovalStatus.PENDING}' AND a.notified_at IS NULL"
_CLAIM: Final = """
WITH due AS MATERIALIZED (
    SELECT a.approval_id FROM approvals AS a
     WHERE @WHICH@ AND (a.expires_at IS NULL OR a.expires_at > clock_timestamp())
     ORDER BY a.notify_after LIMIT %s FOR UPDATE SKIP LOCKED)
UPDATE approvals AS a SET notify_after = clock_timestamp() + %s * interval '1 second'
  FROM due, workflows AS w
 WHERE a.approval_id = due.approval_id AND w.workflow_id = a.workflow_id
RETURNING a.approval_id, a.workflow_id, w.workflow_name, a.task_id, a.prompt, a.assignee, a.choices_json,
          a.token_hash, a.created_at, a.expires_at
"""
CLAIM_DUE: Final = _CLAIM.replace("@WHICH@", f"{_UNSENT} AND a.notify_after <= clock_timestamp()")
"""limit, seconds."""
CLAIM_NEW: Final = _CLAIM.replace("@WHICH@", f"{_UNSENT} AND a.approval_id = ANY(%s)")
"""approvals, limit, seconds: by the one who made them, for whom their first moments are kept free."""

NOTIFIED: Final = "UPDATE approvals SET notified_at = clock_timestamp() WHERE approval_id = %s AND notified_at IS NULL"

NOTIFY_LATER: Final = """
UPDATE approvals
   SET notify_after = clock_timestamp()
       + least(interval '1 hour', greatest(interval '1 minute', (clock_timestamp() - created_at) / 2))
 WHERE approval_id = %s AND notified_at IS NULL
"""
"""The older it is, the longer: no column counts the attempts."""
