"""Statements about the services that are up."""

from __future__ import annotations

COUNT_SEEN = """
SELECT count(*) FROM workers
 WHERE service = %s AND host = %s AND pid = ANY (%s) AND seen_at > clock_timestamp() - interval '1 minute'
"""

IS_SEEN = """
SELECT count(*) > 0 FROM workers
 WHERE service = %s AND host = %s AND seen_at > clock_timestamp() - interval '1 minute'
"""
