"""Statements about events that come from outside."""

from __future__ import annotations

EMIT = "SELECT highway_emit(%s, %s, %s)"

THERE_IS_WORK = "NOTIFY highway_work"
