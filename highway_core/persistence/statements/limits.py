"""Statements about limits of queues and workflows."""

from __future__ import annotations

PUT = """
INSERT INTO queue_limits (scope, name, max_running, rate_per_second, tokens) VALUES (%s, %s, %s, %s, greatest(%s, 1))
ON CONFLICT ON CONSTRAINT pk_queue_limits DO UPDATE
   SET max_running = excluded.max_running, rate_per_second = excluded.rate_per_second,
       tokens = least(queue_limits.tokens, excluded.tokens)
"""

REMOVE = "DELETE FROM queue_limits WHERE scope = %s AND name = %s"

SELECT_ALL = "SELECT scope, name, max_running, rate_per_second FROM queue_limits ORDER BY scope, name"

NAMES = "SELECT scope, name FROM queue_limits"

CLEAR_LANE = "UPDATE task_queue SET lane = NULL WHERE lane = %s"
"""After the limit is gone, and in the same transaction: whoever set work apart under it held its row."""

CALL = "SELECT pg_notify('highway_work', '')"
"""There may be something to claim that could not be claimed before."""
