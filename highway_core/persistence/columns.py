"""Column types of the tables: moments that are always aware and in UTC, and JSON kept as text."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import CheckConstraint, DateTime, Dialect
from sqlalchemy.types import TypeDecorator


class UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime: ``timestamptz`` on PostgreSQL, UTC text without offset on SQLite, which sorts by time."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"A moment without time zone cannot be stored: {value!r}")
        moment = value.astimezone(UTC)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class JsonView:
    """The value of a JSON text column under a plain name. ``empty`` makes the value of NULL."""

    def __init__(self, column: str, empty: Callable[[], Any] = lambda: None) -> None:
        self._column = column
        self._empty = empty

    def __get__(self, row: object | None, owner: type[object]) -> Any:
        if row is None:
            return self
        text = getattr(row, self._column)
        return self._empty() if text is None else json.loads(text)

    def __set__(self, row: object, value: Any) -> None:
        setattr(row, self._column, None if value is None else json.dumps(value))


def one_of(column: str, values: type[StrEnum]) -> CheckConstraint:
    """The column holds one of the enum's strings, whoever writes it.

    Not with ``IN``: SQLite would build a little index of the words for every row that it checks.
    """
    return CheckConstraint(" OR ".join(f"{column} = '{value}'" for value in values), name=column)
