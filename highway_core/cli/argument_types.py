"""What an argument may be: each takes its text and gives its value, or says what is wrong with it."""

from __future__ import annotations

import argparse
import json
import re
from datetime import UTC, datetime
from typing import Any

_LONGEST_RUN_ID = 200
_LAST_PORT = 65535
_LONGEST_EVENT = 300
_LONGEST_KEY = 300
_NEW_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,199}", re.ASCII)
_QUEUE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)


def run_id(text: str) -> str:
    if not text.strip() or not text.isprintable() or len(text) > _LONGEST_RUN_ID:
        raise argparse.ArgumentTypeError(f"a run id has 1 to {_LONGEST_RUN_ID} printable characters")
    return text


def new_run_id(text: str) -> str:
    """What somebody may call a run; ids of child runs have slashes as well."""
    if not _NEW_RUN_ID.fullmatch(text):
        raise argparse.ArgumentTypeError(
            f"{text!r}: a run id has 1 to {_LONGEST_RUN_ID} letters, digits and any of '._:@-', and begins with a"
            " letter or a digit"
        )
    return text


def idempotency_key(text: str) -> str:
    """It travels in a header, where other alphabets and outer blanks get lost."""
    if not 0 < len(text) <= _LONGEST_KEY or not text.isascii() or not text.isprintable() or text != text.strip():
        raise argparse.ArgumentTypeError(
            f"{text!r}: a key has 1 to {_LONGEST_KEY} printable ASCII characters, and no blanks around them"
        )
    return text


def event_name(text: str) -> str:
    if not 0 < len(text) <= _LONGEST_EVENT:
        raise argparse.ArgumentTypeError(f"the name of an event has 1 to {_LONGEST_EVENT} characters")
    return text


def positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above zero")
    return int(text)


def days(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of days")
    return int(text)


def port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= _LAST_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port (1 to {_LAST_PORT})")
    return int(text)


def rate(text: str) -> float:
    """So many a second."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above zero")
    return value


def names(text: str) -> tuple[str, ...]:
    """``a,b``."""
    found = tuple(part.strip() for part in text.split(",") if part.strip())
    if not found:
        raise argparse.ArgumentTypeError("at least one name is needed, as in a,b")
    return found


def queue_name(text: str) -> str:
    if not _QUEUE.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r}: a queue has 1 to 64 letters, digits, '_', '.' and '-' as its name")
    return text


def json_value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise argparse.ArgumentTypeError(f"it is not JSON: {error}") from error


def moment(text: str) -> datetime:
    """ISO 8601; UTC where no zone is said."""
    try:
        value = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no moment such as 2030-01-31T09:00:00Z") from None
    return value if value.tzinfo else value.replace(tzinfo=UTC)
