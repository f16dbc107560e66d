"""Statements about API keys."""

from __future__ import annotations

INSERT_KEY = """
INSERT INTO api_keys (key_id, secret_hash, name, scopes_json, expires_at)
VALUES (%s, %s, %s, %s, %s)
"""

_COLUMNS = "key_id, name, scopes_json, created_at, expires_at, revoked_at, last_used_at"

SELECT_KEY = f"""
SELECT {_COLUMNS}, secret_hash,
       revoked_at IS NULL AND (expires_at IS NULL OR expires_at > clock_timestamp()) AS usable
  FROM api_keys WHERE key_id = %s
"""  # noqa: S608 - nothing but names of columns

SELECT_KEYS = f"SELECT {_COLUMNS} FROM api_keys ORDER BY created_at, key_id"  # noqa: S608

REVOKE_KEY = """
UPDATE api_keys SET revoked_at = clock_timestamp() WHERE key_id = %s AND revoked_at IS NULL
"""

TOUCH_KEY = """
UPDATE api_keys SET last_used_at = clock_timestamp()
 WHERE key_id = %s AND (last_used_at IS NULL OR last_used_at < clock_timestamp() - interval '1 minute')
"""
