"""The SQL files of DURABLE mode: its tables, and its functions with the statuses of ``lifecycle`` filled in.

In the functions ``@NAME@`` is a status of a task, ``@RUN_NAME@`` of a run, ``@APPROVAL_NAME@`` of an approval,
``@KIND_NAME@`` a kind of queue row; ``@LOCAL@`` and ``@DURABLE@`` are the modes.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from highway_core.lifecycle import ApprovalStatus, QueueKind, RunMode, RunStatus, TaskStatus

_REVISIONS = Path(__file__).parents[1] / "migrations/versions"
DURABLE_TABLES = (_REVISIONS / "v0002_durable.sql").read_text(encoding="utf-8")
"""Over the tables of revision highway_0001. Released, and so never changed again."""
OPEN_TASKS = (_REVISIONS / "v0003_open_tasks.sql").read_text(encoding="utf-8")
"""Over those of highway_0002."""
STATUS_DOMAINS = (_REVISIONS / "v0004_status_domains.sql").read_text(encoding="utf-8")
"""Over those of highway_0003."""

_WORDS = (
    {status.name: status.value for status in TaskStatus}
    | {mode.name: mode.value for mode in RunMode}
    | {f"RUN_{status.name}": status.value for status in RunStatus}
    | {f"APPROVAL_{status.name}": status.value for status in ApprovalStatus}
    | {f"KIND_{kind.name}": kind.value for kind in QueueKind}
)


def with_statuses(text: str) -> str:
    """SQL in which every ``@NAME@`` stands as the string that it means."""
    return re.sub(r"@(\w+)@", lambda found: f"'{_WORDS[found[1]]}'", text)


_SOURCE = (Path(__file__).parent / "durable_functions.sql").read_text(encoding="utf-8")
_FILLED = with_statuses(re.sub(r"(?m)^--.*\n", "", _SOURCE))

FUNCTIONS_VERSION = hashlib.sha256(_FILLED.encode()).hexdigest()[:16]
"""Which text of the functions a database has; ``highway_functions_version()`` answers it."""

_DROP_OLD = """
DO $$
DECLARE
    old regprocedure;
BEGIN
    -- CREATE OR REPLACE cannot change a parameter's name or a result's type.
    FOR old IN SELECT p.oid FROM pg_proc p WHERE p.pronamespace = current_schema()::regnamespace
                AND starts_with(p.proname, 'highway_') LOOP
        EXECUTE 'DROP FUNCTION ' || old;
    END LOOP;
END $$;
"""
_ANSWER_VERSION = f"""
CREATE FUNCTION highway_functions_version() RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT '{FUNCTIONS_VERSION}' $$;
"""

FUNCTIONS = _DROP_OLD + _FILLED + _ANSWER_VERSION
"""Replaces the functions of any other version; to be carried out in one transaction."""
