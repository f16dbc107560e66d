"""Statements about artifacts."""

from __future__ import annotations

INSERT_ARTIFACT = """
INSERT INTO artifacts (artifact_id, content, size) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING
"""

SELECT_ARTIFACT = "SELECT content FROM artifacts WHERE artifact_id = %s"
