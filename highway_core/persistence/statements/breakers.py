"""Statements about circuit breakers; they are functions in ``durable_functions.sql``."""

from __future__ import annotations

from typing import Final

ADMIT: Final = "SELECT highway_breaker_admit(%s, %s, %s, %s, %s)"
RECORD: Final = "SELECT highway_breaker_record(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
